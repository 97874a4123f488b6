import { download, get, remove } from './client'
import type { Trail } from './trail'
import type { KeyName, Page } from './types'

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

export type RequestDetail = Omit<RequestRow, 'attempt_count'> & Trail

/** What a request must be like; what is left out does not matter. */
export interface LogFilter {
  from_ms?: number
  to_ms?: number
  model?: string
  dialect?: string
  endpoint?: string
  key_id?: string
  token_id?: string
  /** `ok`, `error`, `4xx`, `429` and the like, by commas. */
  status?: string
  stream?: boolean
  retried?: boolean
  empty?: boolean
  min_duration_ms?: number
  max_duration_ms?: number
  client_ip?: string
  /** An id, or a word of the error. */
  q?: string
}

export const listRequests = (filter: LogFilter, cursor?: string | null, limit = 50, signal?: AbortSignal) =>
  get<Page<RequestRow>>('requests', { ...filter, cursor, limit }, signal)

export const findRequest = (id: string, signal?: AbortSignal) =>
  get<RequestDetail>(`requests/${encodeURIComponent(id)}`, undefined, signal)

export const exportRequests = (filter: LogFilter) => download('GET', 'requests/export', { query: { ...filter } })

/** The server works a few seconds at a time; while there is more, `next_cursor` says where it goes on. */
export interface Deleted {
  deleted: number
  next_cursor: string | null
}

export async function deleteAll(step: (cursor: string | null) => Promise<Deleted>): Promise<number> {
  let sum = 0
  let cursor: string | null = null
  do {
    const done: Deleted = await step(cursor)
    sum += done.deleted
    cursor = done.next_cursor
  } while (cursor !== null)
  return sum
}

/** Deletes all that fit, and gives their number. */
export const deleteRequests = (filter: LogFilter) =>
  deleteAll((cursor) => remove<Deleted>('requests', { ...filter, cursor }))
