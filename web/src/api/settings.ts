import { call, download, post, type Answer } from './client'

export type SettingType =
  | 'boolean'
  | 'integer'
  | 'number'
  | 'text'
  | 'choice'
  | 'list'
  | 'map'
  | 'json'
  | 'secret'
  | 'secret_list'
  | 'secret_map'

export type Origin = 'default' | 'file' | 'dotenv' | 'environment' | 'dashboard'

/** What a setting takes. */
export interface SettingSchema {
  name: string
  group: string
  type: SettingType
  /** What a number counts, as `s` or `MB`. */
  unit?: string | null
  min?: number | null
  max?: number | null
  choices?: string[] | null
  /** In JSON. */
  example?: string | null
  help: string
  applies: 'live' | 'restart'
  /** Otherwise files and the environment alone can set it. */
  editable?: boolean
}

export interface SettingsSchema {
  groups: { id: string; title: string }[]
  items: SettingSchema[]
}

export interface SettingValue {
  name: string
  /** `null` in the place of a secret. */
  value: unknown
  is_set: boolean
  default: unknown
  origin: Origin
  changed_at_ms?: number | null
  /** What the dashboard's value covers. */
  overridden?: { origin: Origin; value?: unknown } | null
  restart_pending: boolean
}

export interface SettingList {
  version: number | string
  items: SettingValue[]
}

/** Values by name; `null` goes back to what files, environment and defaults say. */
export type Changes = Record<string, unknown>

/** What becomes of keys or tokens; not all are told one by one. */
export interface Preview {
  added: number
  changed: number
  unchanged: number
  refused: number
  items: { name: string; status: 'added' | 'changed' | 'refused'; reason?: string }[]
}

export interface ImportResult {
  changed: { name: string; from?: unknown; to?: unknown }[]
  /** Names that mean nothing here. */
  ignored?: string[]
  /** `null` where the document says nothing of them. */
  keys: Preview | null
  tokens: Preview | null
}

/** What goes into a document beside the settings. */
export interface ExportWishes {
  include_secrets: boolean
  keys: boolean
  tokens: boolean
}

export const findSchema = async (signal?: AbortSignal) =>
  (await call<SettingsSchema>('GET', 'settings/schema', { signal })).data

export const listSettings = (signal?: AbortSignal): Promise<Answer<SettingList>> =>
  call<SettingList>('GET', 'settings', { signal })

export const updateSettings = (changes: Changes, ifMatch: string | null): Promise<Answer<SettingList>> =>
  call<SettingList>('PATCH', 'settings', { body: changes, ifMatch })

export const validateSettings = (changes: Changes, signal?: AbortSignal) =>
  post<{ ok: boolean }>('settings/validate', changes, { signal })

export const exportSettings = (wishes: ExportWishes) => download('POST', 'settings/export', { body: wishes })

export const importSettings = (document: unknown, dryRun: boolean) =>
  post<ImportResult>('settings/import', { document, dry_run: dryRun })
