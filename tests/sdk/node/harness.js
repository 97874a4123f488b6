// Where the suites of the Node SDKs find the gateway, and how they steer the simulated Gemini behind it.
//
// The environment is that of the Python suites: GATEWAY_URL, GATEWAY_TOKEN, SIM_URL, and SDK_TARGET=sim when GATEWAY_URL is the
// simulation itself.

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

export const PIXEL =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/** The simulation's counters. */
export const simState = async () => (await fetch(`${SIM}/_sim/state`)).json();

/** Faults over all keys; none ends them. */
export const setWeather = async (...spells) => {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`${SIM}/_sim/weather`, { method: "PUT", headers, body: JSON.stringify(spells) });
  if (!answer.ok) throw new Error(`weather: ${answer.status}`);
};

/** The first cancellation since `before`; fails when none comes within a second. */
export const waitForCancellation = async (before) => {
  const deadline = Date.now() + 1000;
  while (Date.now() < deadline) {
    const { cancelled } = await simState();
    if (cancelled.length > before.cancelled.length) return cancelled.at(before.cancelled.length);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("the upstream connection is still open");
};

/** What an asynchronous iterable yields. */
export const collect = async (iterable) => {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
};

export const words = (count) => Array.from({ length: count }, (_, n) => `e${n + 1}`);
