import type { KeyName } from './types'

/** One request of a client, as the log has it. */
export interface RequestRow {
  /** The `x-request-id` of the answer. */
  id: string
  started_at_ms: number
  duration_ms: number
  first_byte_ms: number | null
  dialect: string
  endpoint: string
  model: string
  stream: boolean
  status: number
  /** One word for what went wrong. */
  error: string | null
  key: KeyName | null
  token: { id: string; name: string } | null
  client_ip: string | null
  node: string | null
  prompt_tokens: number
  cached_tokens: number
  output_tokens: number
  thoughts_tokens: number
  attempt_count: number
}
