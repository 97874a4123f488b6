import { get, post } from './client'
import type { Job } from './jobs'
import type { Page, StateCounts } from './types'

export interface SystemView {
  version: string
  node: string | null
  started_at_ms: number
  uptime_ms: number
  database: { kind: string; ok: boolean; latency_ms: number | null; size_bytes: number | null; path?: string | null }
  log_queue: { queued: number; written: number; dropped: number }
  /** `null` without `REDIS_URL`. */
  redis: { url: string; ok: boolean; since_ms: number; error: string | null } | null
  workers: number
  memory_bytes: number | null
  keys: StateCounts
  update?: {
    enabled: boolean
    latest: string | null
    is_newer: boolean
    checked_at_ms: number | null
    /** Why the last look found nothing. */
    error: string | null
  }
}

export interface NodeView {
  id: string
  name: string | null
  is_self: boolean
  started_at_ms: number
  version: string
  last_seen_at_ms: number
  is_alive: boolean
  leads: boolean
}

export interface ActorView {
  name: string
  instances: number
  mailbox?: number | null
  restarts: { panic: number; stop: number }
  snapshot: unknown
}

export interface ProxyView {
  url: string
  state: 'unknown' | 'ok' | 'failing' | 'refused'
  paused_until_ms: number | null
  storms: number
  last_checked_at_ms: number | null
  latency_ms: number | null
  error: string | null
}

export const findSystem = (signal?: AbortSignal) => get<SystemView>('system', undefined, signal)
export const listNodes = (signal?: AbortSignal) => get<Page<NodeView>>('nodes', undefined, signal)
export const listActors = (signal?: AbortSignal) => get<Page<ActorView>>('actors', undefined, signal)
export const listProxies = (signal?: AbortSignal) => get<Page<ProxyView>>('proxies', undefined, signal)
export const checkProxies = () => post<{ job?: Job; items?: ProxyView[] }>('proxies/check')
/** The OpenAPI document; needs no session. */
export const findOpenApi = (signal?: AbortSignal) => get<OpenApi>('openapi.json', undefined, signal)

/** The parts of an OpenAPI 3.1 document that the reference shows. */
export interface OpenApi {
  info: { title: string; version: string; description?: string }
  paths: Record<string, Record<string, Operation>>
  components?: { schemas?: Record<string, Schema> }
}

export interface Operation {
  summary?: string
  description?: string
  tags?: string[]
  operationId?: string
  parameters?: { name: string; in: string; required?: boolean; description?: string; schema?: Schema }[]
  requestBody?: { required?: boolean; content?: Record<string, { schema?: Schema }> }
  responses?: Record<string, { description?: string; content?: Record<string, { schema?: Schema }> }>
}

export interface Schema {
  $ref?: string
  type?: string | string[]
  format?: string
  description?: string
  enum?: unknown[]
  items?: Schema
  properties?: Record<string, Schema>
  additionalProperties?: Schema | boolean
  required?: string[]
  oneOf?: Schema[]
  anyOf?: Schema[]
  allOf?: Schema[]
  minimum?: number
  maximum?: number
  example?: unknown
  default?: unknown
}
