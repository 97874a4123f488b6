import { get, remove } from './client'
import type { LogFilter } from './requests'
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
  /** Only where the gateway is set to keep it. */
  request_body?: string | null
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

export const deleteErrors = (filter: ErrorFilter) => remove<{ deleted?: number } | undefined>('errors', { ...filter })
