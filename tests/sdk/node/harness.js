// Where the suites of the Node SDKs find the gateway, and how they steer the simulated Gemini behind it.
//
// The environment is that of the Python suites: GATEWAY_URL, GATEWAY_TOKEN, SIM_URL, and SDK_TARGET=sim when GATEWAY_URL is the
// simulation itself.

import assert from "node:assert/strict";

const required = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value.replace(/\/$/, "");
};

export const GATEWAY = required("GATEWAY_URL");
export const TOKEN = required("GATEWAY_TOKEN");
const SIM = required("SIM_URL");

export const isGateway = (process.env.SDK_TARGET ?? "gateway") === "gateway";
export const gatewayOnly = isGateway ? {} : { skip: "Google's own layer does not do this" };
export const openaiBase = isGateway ? `${GATEWAY}/v1` : `${GATEWAY}/v1beta/openai`;

// A client that hangs up frees its key's slot at once.
const MAX_CANCEL_MS = 100;

export const PIXEL =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/** The simulation's counters. */
const simState = async () => (await fetch(`${SIM}/_sim/state`)).json();

/** Faults over all keys; none ends them. */
export const setWeather = async (...spells) => {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`${SIM}/_sim/weather`, { method: "PUT", headers, body: JSON.stringify(spells) });
  if (!answer.ok) throw new Error(`weather: ${answer.status}`);
};

/** What `act` does must end one upstream call on `model`, at most MAX_CANCEL_MS after it is done. */
export const cancels = async (model, act) => {
  const known = (await simState()).cancelled.length;
  await act();
  const doneMs = Date.now();
  for (let cancelled = []; Date.now() < doneMs + 2000; await new Promise((done) => setTimeout(done, 10))) {
    cancelled = (await simState()).cancelled.slice(known);
    if (cancelled.length === 0) continue;
    assert.deepEqual(cancelled.map((call) => call.model), [model]);
    assert.ok(cancelled[0].at_ms - doneMs < MAX_CANCEL_MS);
    return;
  }
  assert.fail("the upstream connection is still open");
};

/** What an asynchronous iterable yields. */
export const collect = async (iterable) => {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
};

export const words = (count) => Array.from({ length: count }, (_, n) => `e${n + 1}`);
