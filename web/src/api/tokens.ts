import { call, post, get, remove, type Answer } from './client'
import type { Page } from './types'

export const LIMITS = [
  'requests_per_minute',
  'tokens_per_minute',
  'requests_per_day',
  'tokens_per_day',
  'images_per_day',
  'requests_per_month',
  'tokens_per_month',
  'images_per_month',
] as const
export type LimitName = (typeof LIMITS)[number]
export type RateLimits = Record<LimitName, number | null>

/** How far one limit is used. */
export interface LimitUse {
  limit: LimitName
  most: number
  used: number
  /** When nothing of it counts any more. */
  resets_at_ms: number
}

export type TokenState = 'active' | 'disabled' | 'expired'

/** What can be chosen of a client token; empty lists mean that nothing is left out. */
export interface TokenSpec {
  name: string
  enabled: boolean
  expires_at_ms: number | null
  rate_limits: RateLimits
  max_concurrent: number | null
  /** IANA, where days and months begin. */
  time_zone: string
  models: string[]
  networks: string[]
  tiers: string[]
  note: string
}

export interface TokenView extends TokenSpec {
  id: string
  prefix: string
  origin: 'config' | 'admin'
  state: TokenState
  created_at_ms: number
  last_used_at_ms: number | null
  /** Until when the token is accepted that this one replaced. */
  old_valid_until_ms?: number | null
  usage: LimitUse[]
  in_flight?: number
}

/** Told once, when it is made. */
export type NewToken = TokenView & { token: string }

export const listTokens = (query: { q?: string; state?: TokenState; limit?: number; cursor?: string } = {}, signal?: AbortSignal) =>
  get<Page<TokenView>>('tokens', query, signal)

export const findToken = (id: string): Promise<Answer<TokenView>> => call<TokenView>('GET', path(id))

export const createToken = (spec: TokenSpec, idempotencyKey: string) => post<NewToken>('tokens', spec, { idempotencyKey })

export const updateToken = async (id: string, changes: Partial<TokenSpec>, ifMatch?: string | null) =>
  (await call<TokenView>('PATCH', path(id), { body: changes, ifMatch })).data

export const deleteToken = (id: string) => remove(path(id))

export const rotateToken = (id: string, graceSeconds: number) =>
  post<NewToken>(`${path(id)}/rotate`, { grace_seconds: graceSeconds })

/** A token for the playground, good for an hour. */
export const lendToken = () => post<{ token: string; expires_at_ms: number }>('playground')

const path = (id: string) => `tokens/${encodeURIComponent(id)}`
