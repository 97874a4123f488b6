/**
 * A new `Idempotency-Key`: the same request under the same key is done once, also when its first answer was lost. Random
 * also where the page came without TLS and `randomUUID` is missing.
 */
export const newAttempt = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (number) => number.toString(36)).join('')
