import { get } from './client'
import type { BulkChanges } from './keys'
import type { KeyName, Page, Percentiles, StateCounts, TokenCounts, UsageRow } from './types'

export interface Range {
  from_ms: number
  to_ms: number
}

/** Figures of a range, which are compared with those of the range before. */
export interface Totals {
  requests: number
  succeeded: number
  failed: number
  success_rate: number | null
  first_byte_ms: Percentiles
  duration_ms: Percentiles
  tokens: TokenCounts
}

export interface Overview extends Totals, Range {
  client_errors: number
  attempts: number
  rescued: number
  cache_hit_rate: number | null
  in_flight: number
  states: StateCounts
  top_models: UsageRow[]
  previous: Totals
}

export type Metric =
  | 'requests'
  | 'errors'
  | 'success_rate'
  | 'attempts'
  | 'rescued'
  | 'tokens'
  | 'prompt_tokens'
  | 'output_tokens'
  | 'cached_tokens'
  | 'first_byte_p50'
  | 'first_byte_p95'
  | 'duration_p50'
  | 'duration_p95'
  | 'keys_by_state'

export type Grouping = 'model' | 'key' | 'token' | 'dialect' | 'status'

export interface SeriesQuery extends Range {
  metric: Metric
  group_by?: Grouping
  step_ms?: number
  key_id?: number
  token_id?: string
  model?: string
}

export interface Series {
  metric: Metric
  unit: string
  from_ms: number
  to_ms: number
  step_ms: number
  series: { name: string; points: [number, number | null][] }[]
}

export interface UsageQuery extends Range {
  group_by: Grouping
  key_id?: number
  token_id?: string
  limit?: number
}

export interface AttentionAction {
  action: string
  label_key: string
  /** Parameters of the page, or the filter of the keys. */
  filter?: Record<string, string | string[]> | null
  ids?: number[] | null
  changes?: BulkChanges | null
}

export interface AttentionItem {
  kind: string
  severity: 'error' | 'warning' | 'info'
  message: string
  count: number
  keys?: KeyName[] | null
  model?: string | null
  /** How a shared project shows: what Google calls it, or that its keys run dry together. */
  evidence?: { consumer?: string } | string | null
  actions?: AttentionAction[] | null
}

export const findOverview = (range: Range, signal?: AbortSignal) =>
  get<Overview>('stats/overview', { ...range }, signal)
export const findSeries = (query: SeriesQuery, signal?: AbortSignal) =>
  get<Series>('stats/series', { ...query }, signal)
export const listUsage = (query: UsageQuery, signal?: AbortSignal) =>
  get<Page<UsageRow>>('stats/usage', { ...query }, signal)
export const listAttention = (signal?: AbortSignal) =>
  get<{ items: AttentionItem[] } | AttentionItem[]>('stats/attention', undefined, signal)

export interface Capacity {
  left: number
  limit: number
  /** Projects that may send more, nobody knows how much. */
  unknown_projects: number
}

export interface ModelForecast {
  model: string
  projects: number
  ready_projects: number
  requests_per_minute?: number
  tokens_per_minute?: number
  next_recovery_at_ms: number | null
  minute: { requests: Capacity; tokens: Capacity; dry_in_ms: number | null }
  day: { requests: Capacity; resets_at_ms: number; dry_in_ms: number | null }
}

export const findForecast = (signal?: AbortSignal) =>
  get<Page<ModelForecast> & { at_ms: number }>('stats/forecast', undefined, signal)
