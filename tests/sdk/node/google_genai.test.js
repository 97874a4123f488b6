// Google's SDK for Node against the gateway, unchanged but for its base URL.

import assert from "node:assert/strict";
import test from "node:test";

import {
  ApiError,
  FunctionCallingConfigMode,
  GoogleGenAI,
  createPartFromUri,
  createUserContent,
} from "@google/genai";

import {
  GATEWAY,
  PIXEL,
  TOKEN,
  cancels,
  collect,
  gatewayOnly,
  isGateway,
  setWeather,
  words,
} from "./harness.js";

const MODEL = "gemini-2.5-flash";
const SIGNING_MODEL = "gemini-3.6-flash";
const EMBEDDING_MODEL = "gemini-embedding-001";
// Exhausted on purpose; no other test uses it.
const EXHAUSTED_MODEL = "gemini-3.1-pro-preview";

const connect = (apiKey = TOKEN) => new GoogleGenAI({ apiKey, httpOptions: { baseUrl: GATEWAY } });
const { caches, chats, files, models } = connect();

const declare = (name) => {
  const parametersJsonSchema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
  return { name, description: name, parametersJsonSchema };
};
const tools = [{ functionDeclarations: [declare("get_weather"), declare("get_time")] }];
const ask = (contents, config, model = MODEL) => models.generateContent({ model, contents, config });
const textOf = (chunks) => chunks.map((chunk) => chunk.text ?? "").join("");

/** Rejects with this status, in the error's class and in its text. */
const rejectsWith = (call, status) =>
  assert.rejects(call, (error) => {
    assert.ok(error instanceof ApiError, String(error));
    assert.equal(error.status, status);
    return true;
  });

test("an answer has text and usage", async () => {
  const answer = await ask("hello");

  assert.equal(answer.text, 'You wrote: "hello".');
  assert.ok(answer.usageMetadata.totalTokenCount > answer.usageMetadata.promptTokenCount);
});

test("a system instruction and an image arrive", async () => {
  const contents = [{ role: "user", parts: [{ text: "look" }, { inlineData: { mimeType: "image/png", data: PIXEL } }] }];

  const answer = await ask(contents, { systemInstruction: "be brief" });

  assert.match(answer.text, /I was told: "be brief"\. I see 1 attachment/);
});

test("a stream says the same and counts in every event", async () => {
  const chunks = await collect(await models.generateContentStream({ model: MODEL, contents: "hello there" }));

  assert.equal(textOf(chunks), 'You wrote: "hello there".');
  assert.ok(chunks.every((chunk) => chunk.usageMetadata.promptTokenCount > 0));
  assert.equal(chunks.at(-1).candidates[0].finishReason, "STOP");
});

test("a long stream loses and repeats nothing", async () => {
  const chunks = await collect(await models.generateContentStream({ model: MODEL, contents: "[[events=300]]" }));

  assert.deepEqual(textOf(chunks).split(" "), words(300));
});

test("aborting a stream cancels the upstream call", async () => {
  const abort = new AbortController();
  const config = { abortSignal: abort.signal };
  const contents = "[[events=1000 gap_ms=50]]";
  const stream = await models.generateContentStream({ model: MODEL, contents, config });

  await cancels(MODEL, () =>
    assert.rejects(async () => {
      for await (const _ of stream) abort.abort();
    }),
  );
});

test("an error in a stream is raised", async () => {
  const contents = "[[events=9 event_error=3]]";

  await assert.rejects(async () => collect(await models.generateContentStream({ model: MODEL, contents })), ApiError);
});

test("a stream that breaks off ends with an error", gatewayOnly, async () => {
  const contents = "[[events=9 cut=3]]";

  await assert.rejects(async () => collect(await models.generateContentStream({ model: MODEL, contents })), ApiError);
});

for (const model of [MODEL, SIGNING_MODEL]) {
  test(`parallel calls go round with ${model}`, async () => {
    const chat = chats.create({ model, config: { tools } });
    const first = await chat.sendMessage({ message: "please get_weather and get_time" });

    assert.deepEqual(first.functionCalls.map((call) => call.name), ["get_weather", "get_time"]);
    assert.deepEqual(first.functionCalls[0].args, { city: "a city" });

    const results = first.functionCalls.map(({ id, name }) => ({
      functionResponse: { id, name, response: { output: `${name} done` } },
    }));
    const second = await chat.sendMessage({ message: results });

    assert.match(second.text, /get_weather done.*get_time done/);
  });
}

test("the mode ANY calls an allowed function", async () => {
  const mode = FunctionCallingConfigMode.ANY;
  const functionCallingConfig = { mode, allowedFunctionNames: ["get_time"] };

  const answer = await ask("hello", { tools, toolConfig: { functionCallingConfig } });

  assert.deepEqual(answer.functionCalls.map((call) => call.name), ["get_time"]);
});

test("structured output fits its schema", async () => {
  const responseSchema = {
    type: "OBJECT",
    properties: { city: { type: "STRING" }, days: { type: "ARRAY", items: { type: "INTEGER" } } },
  };

  const answer = await ask("forecast", { responseMimeType: "application/json", responseSchema });

  assert.deepEqual(JSON.parse(answer.text), { city: "a city", days: [1, 1] });
});

test("thoughts are parts of their own", async () => {
  const answer = await ask("hello", { thinkingConfig: { includeThoughts: true } });

  assert.deepEqual(answer.candidates[0].content.parts.map((part) => Boolean(part.thought)), [true, false]);
  assert.equal(answer.text, 'You wrote: "hello".');
});

test("embeddings have the size asked for", async () => {
  const config = { outputDimensionality: 16 };

  const answer = await models.embedContent({ model: EMBEDDING_MODEL, contents: ["a", "b"], config });

  assert.deepEqual(answer.embeddings.map((embedding) => embedding.values.length), [16, 16]);
});

test("tokens are counted", async () => {
  assert.equal((await models.countTokens({ model: MODEL, contents: "12345678" })).totalTokens, 3);
});

test("models are listed over pages and found", async () => {
  const names = (await collect(await models.list({ config: { pageSize: 2 } }))).map((model) => model.name);

  assert.ok(names.includes(`models/${MODEL}`));
  assert.equal(new Set(names).size, names.length);
  assert.equal((await models.get({ model: MODEL })).name, `models/${MODEL}`);
});

test("an unknown model is an ApiError 404", () => rejectsWith(ask("hello", {}, "gemini-0-nobody"), 404));

test("a bad request is an ApiError 400", () => rejectsWith(ask("hello", { presencePenalty: 1 }), 400));

test("a wrong token is an ApiError", () => {
  const call = connect("sk-nobody").models.generateContent({ model: MODEL, contents: "hello" });

  // As Google itself answers a wrong key.
  return rejectsWith(call, 400);
});

test("exhausted keys are an ApiError 429", async (t) => {
  t.after(() => setWeather());
  await setWeather({ fault: { refuse: "bare_limit" }, model: EXHAUSTED_MODEL });

  await rejectsWith(ask("hello", {}, EXHAUSTED_MODEL), 429);
});

test("a file is uploaded, used, listed and deleted", async () => {
  const blob = new Blob(["hello"], { type: "text/plain" });
  const file = await files.upload({ file: blob, config: { displayName: "note" } });

  assert.equal((await files.get({ name: file.name })).sizeBytes, "5");
  assert.equal(file.displayName, "note");
  const names = async () => (await collect(await files.list())).map((listed) => listed.name);
  assert.ok((await names()).includes(file.name));
  // More often than there are keys: each time it is the one that has the file.
  for (let turn = 0; turn < 12; turn += 1) {
    const contents = [createUserContent([createPartFromUri(file.uri, file.mimeType), "What is it?"])];
    assert.equal((await ask(contents)).text, 'You wrote: "What is it?". I see 1 attachment(s).');
  }
  await files.delete({ name: file.name });
  assert.ok(!(await names()).includes(file.name));
});

test("a large file arrives in several parts", async () => {
  const blob = new Blob([new Uint8Array(20 << 20)], { type: "video/mp4" });

  const file = await files.upload({ file: blob });

  assert.equal(file.sizeBytes, String(20 << 20));
  await files.delete({ name: file.name });
});

test("a cache is made, used, extended and deleted", async () => {
  const config = { contents: "A long text. ".repeat(2000), ttl: "300s", displayName: "text" };
  const cache = await caches.create({ model: MODEL, config });

  for (let turn = 0; turn < 12; turn += 1) {
    assert.ok((await ask("Sum it up", { cachedContent: cache.name })).text);
  }
  const longer = await caches.update({ name: cache.name, config: { ttl: "600s" } });
  assert.ok(longer.expireTime > cache.expireTime);
  await caches.delete({ name: cache.name });
  assert.ok(!(await collect(await caches.list())).some((listed) => listed.name === cache.name));
});
