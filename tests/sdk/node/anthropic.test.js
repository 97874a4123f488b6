// The Anthropic SDK for Node against the gateway.

import assert from "node:assert/strict";
import test from "node:test";

import Anthropic from "@anthropic-ai/sdk";

import { GATEWAY, PIXEL, TOKEN, cancels, collect, gatewayOnly, setWeather, words } from "./harness.js";

const MODEL = "gemini-2.5-flash";
const SIGNING_MODEL = "gemini-3.5-flash";
// Exhausted on purpose; no other test uses it.
const EXHAUSTED_MODEL = "gemini-3.6-flash";

const connect = (apiKey = TOKEN) => new Anthropic({ baseURL: GATEWAY, apiKey, maxRetries: 0 });
const client = connect();

const user = (content) => ({ role: "user", content });
const tool = (name) => {
  const input_schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
  return { name, description: name, input_schema };
};
const tools = [tool("get_weather"), tool("get_time")];
const wanted = (content, options) => ({ model: MODEL, max_tokens: 4096, messages: [user(content)], ...options });
const ask = (content, options) => client.messages.create(wanted(content, options));
const kinds = (message) => message.content.map((block) => block.type);

test("an answer has text, stop reason and usage", gatewayOnly, async () => {
  const message = await ask("hello");

  assert.equal(message.content[0].text, 'You wrote: "hello".');
  assert.equal(message.stop_reason, "end_turn");
  assert.ok(message.usage.input_tokens > 0);
  assert.match(message._request_id, /^req_/);
});

test("a picture arrives", gatewayOnly, async () => {
  const source = { type: "base64", media_type: "image/png", data: PIXEL };

  const message = await ask([{ type: "text", text: "what is it" }, { type: "image", source }]);

  assert.match(message.content[0].text, /I see 1 attachment/);
});

test("a stream adds up to the same message", gatewayOnly, async () => {
  const stream = client.messages.stream(wanted("hello"));
  const texts = [];
  stream.on("text", (text) => texts.push(text));

  const message = await stream.finalMessage();

  assert.equal(texts.join(""), 'You wrote: "hello".');
  assert.equal(message.content[0].text, texts.join(""));
  assert.equal(message.stop_reason, "end_turn");
  assert.ok(message.usage.output_tokens > 0);
});

test("a long stream loses and repeats nothing", gatewayOnly, async () => {
  const stream = client.messages.stream(wanted("[[events=300]]"));

  assert.deepEqual((await stream.finalText()).split(" "), words(300));
});

test("aborting a stream cancels the upstream call", gatewayOnly, async () => {
  const stream = await ask("[[events=1000 gap_ms=50]]", { stream: true });

  await cancels(MODEL, async () => {
    for await (const _ of stream) break;
  });
});

test("a stream that breaks off ends with an error", gatewayOnly, async () => {
  const events = [];

  await assert.rejects(async () => {
    for await (const event of await ask("[[events=9 cut=3]]", { stream: true })) events.push(event);
  }, Anthropic.APIError);
  const text = events.map((event) => event.delta?.text ?? "").join("");
  assert.deepEqual(text.trim().split(" "), words(3));
});

for (const model of [MODEL, SIGNING_MODEL]) {
  for (const thinking of [{ type: "disabled" }, { type: "enabled", budget_tokens: 1024 }]) {
    test(`five turns of parallel tools go round with ${model}, thinking ${thinking.type}`, gatewayOnly, async () => {
      const messages = [];
      const answer = () => client.messages.stream({ model, max_tokens: 4096, messages, tools, thinking }).finalMessage();
      for (let turn = 1; turn <= 5; turn++) {
        messages.push(user(`round ${turn}: please get_weather and get_time`));
        const called = await answer();
        const calls = called.content.filter((block) => block.type === "tool_use");

        assert.equal(called.stop_reason, "tool_use");
        assert.deepEqual(calls.map((call) => [call.name, call.input]), [
          ["get_weather", { city: "a city" }],
          ["get_time", { city: "a city" }],
        ]);
        if (model === SIGNING_MODEL) assert.deepEqual(kinds(called).slice(-3), ["thinking", "tool_use", "tool_use"]);

        const result = ({ id, name }) => ({ type: "tool_result", tool_use_id: id, content: `${name} of round ${turn}` });
        messages.push({ role: "assistant", content: called.content }, user(calls.reverse().map(result)));
        const told = await answer();

        assert.match(told.content.at(-1).text, /get_weather of round \d.*get_time of round \d/);
        messages.push({ role: "assistant", content: told.content });
      }
    });
  }
}

test("the runner of tools runs to the end", gatewayOnly, async () => {
  const run = (name) => ({ ...tool(name), run: ({ city }) => `${name} of ${city}`, parse: (input) => input });

  const runner = client.beta.messages.toolRunner({
    ...wanted("please get_weather and get_time", { model: SIGNING_MODEL }),
    tools: [run("get_weather"), run("get_time")],
  });

  const message = await runner.runUntilDone();
  assert.match(message.content.at(-1).text, /get_weather of a city.*get_time of a city/);
});

test("thoughts are blocks before the text", gatewayOnly, async () => {
  const stream = client.messages.stream(wanted("hello", { thinking: { type: "adaptive" } }));
  const thoughts = [];
  stream.on("thinking", (text) => thoughts.push(text));

  const message = await stream.finalMessage();

  assert.deepEqual(kinds(message), ["thinking", "text"]);
  assert.match(thoughts.join(""), /Reading the prompt/);
  assert.ok(message.content[0].signature);
});

test("tokens are counted", gatewayOnly, async () => {
  const { input_tokens } = await client.messages.countTokens({ model: MODEL, messages: [user("hello")] });

  assert.ok(input_tokens > 0);
});

test("models are listed page by page and found", gatewayOnly, async () => {
  const ids = (await collect(client.models.list({ limit: 2 }))).map((model) => model.id);

  assert.ok(ids.includes(MODEL) && new Set(ids).size === ids.length);
  assert.equal((await client.models.retrieve(MODEL)).type, "model");
});

test("errors have Anthropic's classes", gatewayOnly, async () => {
  await assert.rejects(ask([]), Anthropic.BadRequestError);
  await assert.rejects(ask("hello", { model: "gemini-0-nobody" }), Anthropic.NotFoundError);
  await assert.rejects(connect("sk-nobody").messages.create(wanted("hello")), Anthropic.AuthenticationError);
});

test("exhausted keys are a rate limit", gatewayOnly, async (t) => {
  t.after(() => setWeather());
  await setWeather({ fault: { refuse: "bare_limit" }, model: EXHAUSTED_MODEL });

  await assert.rejects(ask("hello", { model: EXHAUSTED_MODEL }), (error) => {
    assert.ok(error instanceof Anthropic.RateLimitError);
    assert.ok(Number(error.headers.get("retry-after")) > 0);
    return true;
  });
});

test("a blocked prompt is an answer", gatewayOnly, async () => {
  const message = await ask("[[blocked]]");

  assert.equal(message.stop_reason, "refusal");
});
