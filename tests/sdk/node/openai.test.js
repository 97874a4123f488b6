// The OpenAI SDK for Node against the gateway.

import assert from "node:assert/strict";
import test from "node:test";

import OpenAI from "openai";

import {
  PIXEL,
  TOKEN,
  cancels,
  collect,
  gatewayOnly,
  isGateway,
  openaiBase,
  setWeather,
  words,
} from "./harness.js";

const MODEL = "gemini-2.5-flash";
const SIGNING_MODEL = "gemini-3.5-flash";
const EMBEDDING_MODEL = "gemini-embedding-001";
// Exhausted on purpose; no other test uses it.
const EXHAUSTED_MODEL = "gemini-3.1-flash-image";

const connect = (apiKey = TOKEN) => new OpenAI({ baseURL: openaiBase, apiKey, maxRetries: 0 });
const client = connect();

const user = (content) => [{ role: "user", content }];
const tool = (name) => {
  const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
  return { type: "function", function: { name, description: name, parameters } };
};
const tools = [tool("get_weather"), tool("get_time")];
const chat = (options) => client.chat.completions.create({ model: MODEL, ...options });
const textOf = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");

test("an answer has text, finish reason and usage", async () => {
  const answer = await chat({ messages: user("hello") });

  assert.equal(answer.choices[0].message.content, 'You wrote: "hello".');
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.ok(answer.usage.total_tokens > 0);
});

test("an image by data URL arrives", async () => {
  const image = { type: "image_url", image_url: { url: `data:image/png;base64,${PIXEL}` } };

  const answer = await chat({ messages: user([{ type: "text", text: "what is it" }, image]) });

  assert.match(answer.choices[0].message.content, /I see 1 attachment/);
});

test("a stream says the same under one id and counts at the end", async () => {
  const options = { stream: true, stream_options: { include_usage: true } };

  const chunks = await collect(await chat({ messages: user("hello"), ...options }));

  assert.equal(textOf(chunks), 'You wrote: "hello".');
  assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
  assert.ok(chunks.at(-1).usage.total_tokens > 0);
});

test("a long stream loses and repeats nothing", async () => {
  const chunks = await collect(await chat({ messages: user("[[events=300]]"), stream: true }));

  assert.deepEqual(textOf(chunks).split(" "), words(300));
});

test("aborting a stream cancels the upstream call", async () => {
  const stream = await chat({ messages: user("[[events=1000 gap_ms=50]]"), stream: true });

  await cancels(MODEL, async () => {
    for await (const _ of stream) break;
  });
});

test("a stream that breaks off ends with an error", gatewayOnly, async () => {
  // The two events of thoughts, which the gateway asks for, count as well.
  const stream = await chat({ messages: user("[[events=9 cut=5]]"), stream: true });
  const chunks = [];

  await assert.rejects(async () => {
    for await (const chunk of stream) chunks.push(chunk);
  }, OpenAI.APIError);
  assert.deepEqual(textOf(chunks).trim().split(" "), words(3));
});

for (const model of [MODEL, SIGNING_MODEL]) {
  test(`parallel calls go round with ${model}`, async () => {
    const messages = user("please get_weather and get_time");
    const first = await chat({ model, messages, tools });
    const calls = first.choices[0].message.tool_calls;

    assert.equal(first.choices[0].finish_reason, "tool_calls");
    assert.deepEqual(calls.map((call) => call.function.name), ["get_weather", "get_time"]);
    assert.deepEqual(JSON.parse(calls[0].function.arguments), { city: "a city" });

    messages.push(first.choices[0].message);
    for (const call of calls) {
      const content = JSON.stringify({ about: call.function.name });
      messages.push({ role: "tool", tool_call_id: call.id, content });
    }
    const second = await chat({ model, messages, tools });

    assert.match(second.choices[0].message.content, /get_weather answered .*get_time answered/);
  });
}

test("the runner of tools runs to the end", gatewayOnly, async () => {
  const run = (name) => ({
    type: "function",
    function: { ...tool(name).function, parse: JSON.parse, function: ({ city }) => `${name} of ${city}` },
  });

  const runner = client.chat.completions.runTools({
    model: SIGNING_MODEL,
    messages: user("please get_weather and get_time"),
    tools: [run("get_weather"), run("get_time")],
    stream: true,
  });

  assert.match(await runner.finalContent(), /get_weather of a city.*get_time of a city/);
});

for (const model of [MODEL, SIGNING_MODEL]) {
  test(`an agent goes on for five turns with ${model}`, gatewayOnly, async () => {
    const messages = [];
    // What a client keeps that knows nothing of fields that OpenAI does not have, such as signatures.
    const plain = ({ content, tool_calls }) => {
      const calls = tool_calls?.map(({ id, type, function: called }) => ({ id, type, function: called }));
      return { role: "assistant", content, ...(calls && { tool_calls: calls }) };
    };
    for (let turn = 0; turn < 5; turn += 1) {
      messages.push(...user(`turn ${turn}: get_weather and get_time`));
      const asked = (await chat({ model, messages, tools })).choices[0].message;
      assert.deepEqual(asked.tool_calls.map((call) => call.function.name), ["get_weather", "get_time"]);
      messages.push(plain(asked));
      for (const call of asked.tool_calls.toReversed()) {
        messages.push({ role: "tool", tool_call_id: call.id, content: JSON.stringify({ turn }) });
      }
      const stream = client.chat.completions.stream({ model, messages, tools });
      const told = await stream.finalMessage();
      assert.match(told.content, /get_weather answered .*get_time answered/);
      messages.push(plain(told));
    }
  });
}

test("structured output is parsed", async () => {
  const schema = {
    type: "object",
    properties: { city: { type: "string" }, days: { type: "array", items: { type: "integer" } } },
    required: ["city", "days"],
    additionalProperties: false,
  };
  const response_format = { type: "json_schema", json_schema: { name: "forecast", strict: true, schema } };

  const answer = await client.chat.completions.parse({ model: MODEL, messages: user("forecast"), response_format });

  assert.deepEqual(JSON.parse(answer.choices[0].message.content), { city: "a city", days: [1, 1] });
});

test("thoughts are reasoning_content", gatewayOnly, async () => {
  const answer = await chat({ messages: user("hello [[thoughts]]"), reasoning_effort: "low" });

  assert.match(answer.choices[0].message.reasoning_content, /Reading the prompt/);
  assert.equal(answer.choices[0].message.content, 'You wrote: "hello".');
});

test("embeddings are the same by default and as floats", async () => {
  const embed = async (options) => {
    const request = { model: EMBEDDING_MODEL, input: "hello", dimensions: 256, ...options };
    return (await client.embeddings.create(request)).data[0].embedding;
  };
  const [byDefault, asFloats] = [await embed({}), await embed({ encoding_format: "float" })];

  assert.equal(byDefault.length, 256);
  byDefault.forEach((value, at) => assert.ok(Math.abs(value - asFloats[at]) < 1e-6));
});

test("models are listed and found", async () => {
  const ids = (await collect(client.models.list())).map((model) => model.id.replace("models/", ""));

  assert.ok(ids.includes(MODEL));
  assert.equal((await client.models.retrieve(MODEL)).object, "model");
});

test("an unknown model is not found", async () => {
  await assert.rejects(chat({ model: "gemini-0-nobody", messages: user("hello") }), OpenAI.NotFoundError);
});

test("a bad request is a bad request", async () => {
  await assert.rejects(chat({ messages: [] }), OpenAI.BadRequestError);
});

test("a wrong token is an authentication error", gatewayOnly, async () => {
  const call = connect("sk-nobody").chat.completions.create({ model: MODEL, messages: user("hello") });

  await assert.rejects(call, OpenAI.AuthenticationError);
});

test("exhausted keys are a rate limit", async (t) => {
  t.after(() => setWeather());
  await setWeather({ fault: { refuse: "bare_limit" }, model: EXHAUSTED_MODEL });

  await assert.rejects(chat({ model: EXHAUSTED_MODEL, messages: user("hello") }), (error) => {
    assert.ok(error instanceof OpenAI.RateLimitError);
    if (isGateway) assert.ok(Number(error.headers.get("retry-after")) > 0);
    return true;
  });
});
