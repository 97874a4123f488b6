/** Shapes that several areas of the API share. Times are Unix milliseconds. */

export interface Page<T> {
  items: T[]
  next_cursor: string | null
  total: number | null
  /** Where counting would take too long. */
  total_at_least?: number | null
}

export type KeyState = 'active' | 'cooling' | 'half_open' | 'invalid' | 'disabled'
export type StateCounts = Partial<Record<KeyState, number>>

export const KEY_STATES: readonly KeyState[] = ['active', 'cooling', 'half_open', 'invalid', 'disabled']

/** A key as it is named in other objects. */
export interface KeyName {
  id: number
  masked: string
  label?: string | null
}

export interface TokenCounts {
  prompt: number
  cached: number
  output: number
  thoughts: number
  total: number
}

/** Two percentiles, in milliseconds. */
export interface Percentiles {
  p50: number | null
  p95: number | null
}

export interface UsageRow {
  name: string
  id?: string | number | null
  requests: number
  succeeded: number
  failed: number
  success_rate: number | null
  tokens: TokenCounts
  first_byte_ms: Percentiles
  duration_ms: Percentiles
  last_at_ms: number | null
}
