// The OpenAI SDK's Responses API for Node against the gateway.

import assert from "node:assert/strict";
import test from "node:test";
import OpenAI, { APIError, BadRequestError, NotFoundError } from "openai";

import { TOKEN, cancels, collect, gatewayOnly, openaiBase, words } from "./harness.js";

const MODEL = "gemini-2.5-flash";
const SIGNING_MODEL = "gemini-3.5-flash";

const client = new OpenAI({ baseURL: openaiBase, apiKey: TOKEN, maxRetries: 0 });

const tool = (name) => ({
  type: "function",
  name,
  description: name,
  strict: true,
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false },
});
const TOOLS = [tool("get_weather"), tool("get_time")];

const callsOf = (response) => response.output.filter((item) => item.type === "function_call");

test("an answer has text, status and usage", gatewayOnly, async () => {
  const response = await client.responses.create({ model: MODEL, input: "hello" });

  assert.equal(response.status, "completed");
  assert.match(response.output_text, /hello/);
  assert.ok(response.usage.total_tokens > 0);
});

test("the stream helper puts a response together", gatewayOnly, async () => {
  const stream = client.responses.stream({ model: SIGNING_MODEL, input: "[[events=50]]", reasoning: { summary: "auto" } });
  const events = await collect(stream);
  const response = await stream.finalResponse();

  assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, n) => n));
  assert.equal(response.output_text, words(50).join(" "));
  assert.deepEqual(response.output.map((item) => item.type), ["reasoning", "message"]);
});

test("structured output is parsed", gatewayOnly, async () => {
  const schema = {
    type: "object",
    properties: { city: { type: "string" }, is_sunny: { type: "boolean" } },
    required: ["city", "is_sunny"],
    additionalProperties: false,
  };
  const format = { type: "json_schema", name: "forecast", strict: true, schema };

  const response = await client.responses.parse({ model: MODEL, input: "forecast", text: { format } });

  const told = JSON.parse(response.output_text);
  assert.deepEqual(Object.keys(told).sort(), ["city", "is_sunny"]);
  assert.equal(typeof told.is_sunny, "boolean");
});

for (const model of [MODEL, SIGNING_MODEL]) {
  for (const keeps of ["gateway", "items"]) {
    test(`an agent of ${model} goes on for five turns, kept by ${keeps}`, gatewayOnly, async () => {
      const history = [];
      let previous;
      const ask = async (input, isStream) => {
        history.push(...input);
        const request =
          keeps === "gateway"
            ? { model, tools: TOOLS, input, previous_response_id: previous }
            : { model, tools: TOOLS, input: history, store: false, include: ["reasoning.encrypted_content"] };
        const response = isStream
          ? await client.responses.stream(request).finalResponse()
          : await client.responses.create(request);
        previous = response.id;
        history.push(...response.output);
        return response;
      };
      for (let turn = 0; turn < 5; turn++) {
        const isStream = turn % 2 === 1;
        const asked = await ask([{ role: "user", content: `turn ${turn}: get_weather and get_time` }], isStream);
        const calls = callsOf(asked);
        assert.deepEqual(calls.map((call) => call.name), ["get_weather", "get_time"]);
        const results = calls.map((call) => ({
          type: "function_call_output",
          call_id: call.call_id,
          output: JSON.stringify({ turn, about: call.name }),
        }));
        const told = await ask(results.reverse(), isStream);
        for (const call of calls) assert.match(told.output_text, new RegExp(`The function ${call.name} answered`));
      }
    });
  }
}

test("kept responses are found, listed and deleted", gatewayOnly, async () => {
  const input = [1, 2, 3].map((n) => ({ role: "user", content: `part ${n}` }));
  const created = await client.responses.create({ model: MODEL, input });

  assert.equal((await client.responses.retrieve(created.id)).output_text, created.output_text);
  const items = await collect(client.responses.inputItems.list(created.id, { limit: 2, order: "asc" }));
  assert.deepEqual(items.map((item) => item.content[0].text), ["part 1", "part 2", "part 3"]);
  await assert.rejects(client.responses.cancel(created.id), BadRequestError);
  await client.responses.delete(created.id);
  await assert.rejects(client.responses.retrieve(created.id), NotFoundError);
});

test("a stream that breaks off throws", gatewayOnly, async () => {
  const stream = await client.responses.create({ model: MODEL, input: "[[events=9 event_error=3]]", stream: true });
  await assert.rejects(collect(stream), APIError);
});

test("closing a stream cancels the upstream call", gatewayOnly, async () => {
  const stream = await client.responses.create({ model: MODEL, input: "[[events=500 gap_ms=20]]", stream: true });
  await cancels(MODEL, async () => {
    for await (const event of stream) {
      if (event.type === "response.output_text.delta") break;
    }
  });
});

test("a response in the background is polled, told from any place and cancelled", gatewayOnly, async () => {
  const created = await client.responses.create({ model: MODEL, input: "[[events=40 gap_ms=20]]", background: true });
  assert.equal(created.status, "in_progress");

  const events = await collect(await client.responses.retrieve(created.id, { stream: true }));
  const rest = await collect(await client.responses.retrieve(created.id, { stream: true, starting_after: 10 }));
  assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, n) => n));
  assert.equal(rest[0].sequence_number, 11);
  assert.equal((await client.responses.retrieve(created.id)).output_text, words(40).join(" "));

  const long = await client.responses.create({ model: MODEL, input: "[[events=1000 gap_ms=50]]", background: true, stream: true });
  let id;
  for await (const event of long) {
    id ??= event.response.id;
    if (event.type === "response.output_text.delta") break;
  }
  await cancels(MODEL, async () => {
    assert.equal((await client.responses.cancel(id)).status, "cancelled");
  });
});
