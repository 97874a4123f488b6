import { get, remove } from './client'
import { deleteAll, type Deleted, type LogFilter } from './requests'
import type { KeyName, Page } from './types'

/** One attempt that failed, with Google's words. */
export interface ErrorRow {
  id: number | string
  at_ms: number
  request_id: string
  key: KeyName | null
  model: string
  /** Of Google's answer; `null` when none came. */
  status: number | null
  kind: string
  message: string
  /** `findError` shows it. */
  has_request_body: boolean
}

/** Failures with the same cause. */
export interface ErrorGroup {
  kind: string
  status: number | null
  /** Without what differs from one to the next, such as numbers and ids. */
  message: string
  count: number
  first_at_ms: number
  last_at_ms: number
  models: string[]
  /** How many keys it met. */
  keys: number
  sample_request_id: string | null
}

export interface ErrorFilter extends Pick<LogFilter, 'from_ms' | 'to_ms' | 'model' | 'key_id' | 'status' | 'q'> {
  kind?: string
  request_id?: string
}

export const listErrors = (filter: ErrorFilter, cursor?: string | null, limit = 50, signal?: AbortSignal) =>
  get<Page<ErrorRow>>('errors', { ...filter, cursor, limit }, signal)

export const listErrorGroups = (filter: ErrorFilter, signal?: AbortSignal) =>
  get<Page<ErrorGroup>>('errors/groups', { ...filter }, signal)

export const findError = (id: number | string, signal?: AbortSignal) =>
  get<ErrorRow & { request_body: string | null }>(`errors/${id}`, undefined, signal)

/** Deletes all that fit, and gives their number. */
export const deleteErrors = (filter: ErrorFilter) =>
  deleteAll((cursor) => remove<Deleted>('errors', { ...filter, cursor }))
