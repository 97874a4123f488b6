import { call, download, get, post, remove, type Query } from './client'
import type { Job } from './jobs'
import type { KeyState, Page, StateCounts } from './types'

export interface Cooldown {
  model: string
  window: string | null
  until_ms: number | null
  reason: string | null
}

export interface QuotaRow {
  model: string
  window: 'minute' | 'day' | 'unknown'
  metric: 'requests' | 'tokens' | 'images' | 'unknown'
  used: number
  limit: number | null
  source: 'preset' | 'hand' | 'learnt' | 'observed' | null
  resets_at_ms: number | null
}

export interface KeyView {
  id: number
  masked: string
  label: string | null
  tags: string[]
  project: string | null
  tier: string | null
  weight: number
  models: { only: string[]; not: string[] }
  state: KeyState
  reason: string | null
  until_ms: number | null
  warm_at_ms: number | null
  cooldowns: Cooldown[]
  in_flight: number
  consecutive_failures: number
  requests_total: number
  failures_total: number
  last_used_at_ms: number | null
  last_error: string | null
  quota: QuotaRow[]
  created_at_ms: number
  origin: 'config' | 'admin'
}

/** What a list shows; the same narrows exports and bulk actions. */
export interface KeyFilter {
  /** One of these; a list in a body, by commas in an address. */
  state?: string[]
  q?: string
  tag?: string
  project?: string
  tier?: string
  model?: string
}

export interface KeyList extends Page<KeyView> {
  counts: StateCounts & { all: number }
  tags: string[]
  projects: string[]
}

export interface KeyChange {
  state?: 'active' | 'disabled'
  until_ms?: number | null
  label?: string | null
  tags?: string[]
  project?: string | null
  tier?: string | null
  weight?: number
  models?: { only: string[]; not: string[] }
}

export interface NewKeys {
  keys: string | string[]
  tags?: string[]
  project?: string
  tier?: string
  weight?: number
  label?: string
  dry_run?: boolean
}

export interface ImportedKey {
  masked: string
  status: 'added' | 'duplicate' | 'rejected'
  id?: number | null
  reason?: string | null
}

export interface ImportReport {
  added: number
  duplicate: number
  rejected: number
  items: ImportedKey[]
}

export type KeyEventKind = 'added' | 'state' | 'model_cooling' | 'reset' | 'project_proposed' | 'deleted' | 'restored'

/** Something that has happened to a key. */
export interface KeyEvent {
  id: number
  key_id: number
  masked: string | null
  label: string | null
  /** When it happened first; `times` within an hour, and so lately. */
  at_ms: number
  times: number
  last_at_ms: number
  kind: KeyEventKind
  from: KeyState | null
  to: KeyState | null
  reason: string | null
  cause: string | null
  model: string | null
  until_ms: number | null
  by: 'operator' | 'config' | 'traffic' | 'recheck' | 'project' | 'time'
}

export type KeyAction = 'verify' | 'reset' | 'enable' | 'disable' | 'delete' | 'update'

export interface BulkChanges {
  tags_add?: string[]
  tags_remove?: string[]
  project?: string | null
  tier?: string | null
  weight?: number
}

export interface KeyActionRequest {
  action: KeyAction
  ids?: number[]
  filter?: KeyFilter
  until_ms?: number
  changes?: BulkChanges
}

export interface Verification {
  ok: boolean
  outcome: 'accepted' | 'refused' | 'unclear'
  message: string
  duration_ms: number
  key: KeyView
}

export type KeyQuery = KeyFilter & { sort?: string; offset?: number; cursor?: string; limit?: number }

export const listKeys = (query: KeyQuery, signal?: AbortSignal) => get<KeyList>('keys', query as Query, signal)
export const findKey = (id: number) => call<KeyView>('GET', `keys/${id}`)
export const createKeys = (keys: NewKeys, idempotencyKey?: string) => post<ImportReport>('keys', keys, { idempotencyKey })
export const updateKey = (id: number, change: KeyChange, ifMatch?: string | null) =>
  call<KeyView>('PATCH', `keys/${id}`, { body: change, ifMatch })
export const deleteKey = (id: number) => remove(`keys/${id}`)
export const revealKey = (id: number) => post<{ key: string }>(`keys/${id}/reveal`)
export const verifyKey = (id: number) => post<Verification>(`keys/${id}/verify`)
export const listKeyEvents = (id: number, cursor?: string | null, signal?: AbortSignal) =>
  get<Page<KeyEvent>>(`keys/${id}/events`, { cursor, limit: 50 }, signal)
/** Keys that came into another state lately. */
export const listStateChanges = (limit: number, signal?: AbortSignal) =>
  get<Page<KeyEvent>>('keys/events', { kind: 'state', limit }, signal)
export const startKeyAction = async (request: KeyActionRequest) =>
  (await post<{ job: Job }>('keys/actions', request)).job
export const exportKeys = (format: 'txt' | 'csv' | 'json', filter: KeyFilter, masked: boolean) =>
  download('GET', 'keys/export', { query: { ...filter, format, masked: masked || undefined } as Query })

export interface KeyError {
  id: string | number
  at_ms: number
  request_id: string | null
  model: string | null
  status: number | null
  kind: string
  message: string
}

export const listKeyErrors = (id: number) => get<Page<KeyError>>('errors', { key_id: id, limit: 50 })
