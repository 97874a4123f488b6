import { LIMITS, type LimitName, type RateLimits, type TokenSpec, type TokenView } from '@/api/tokens'

/** A token's spec as fields of a form hold it: numbers and times as texts, blank for none. */
export interface Draft extends Omit<TokenSpec, 'rate_limits' | 'max_concurrent' | 'expires_at_ms'> {
  rate_limits: Record<LimitName, string | number>
  max_concurrent: string | number
  /** Local time, as `2026-11-28T14:30`. */
  expires: string
}

export const DEFAULT_ZONE = 'America/Los_Angeles'
export const TIERS = ['free', 'tier1', 'tier2', 'tier3', 'unknown'] as const

export function emptyDraft(): Draft {
  return {
    name: '',
    enabled: true,
    expires: '',
    rate_limits: eachLimit(() => ''),
    max_concurrent: '',
    time_zone: DEFAULT_ZONE,
    models: [],
    networks: [],
    tiers: [],
    note: '',
  }
}

export function draftOf(token: TokenView): Draft {
  const { name, enabled, time_zone, models, networks, tiers, note } = token
  return {
    name,
    enabled,
    time_zone,
    models: [...models],
    networks: [...networks],
    tiers: [...tiers],
    note,
    expires: token.expires_at_ms === null ? '' : localTime(token.expires_at_ms),
    rate_limits: eachLimit((limit) => token.rate_limits[limit] ?? ''),
    max_concurrent: token.max_concurrent ?? '',
  }
}

export function specOf(draft: Draft): TokenSpec {
  const { expires, ...rest } = draft
  return {
    ...rest,
    name: draft.name.trim(),
    rate_limits: eachLimit((limit) => numberOf(draft.rate_limits[limit])) as RateLimits,
    max_concurrent: numberOf(draft.max_concurrent),
    expires_at_ms: expires ? new Date(expires).getTime() : null,
  }
}

function eachLimit<T>(value: (limit: LimitName) => T): Record<LimitName, T> {
  return Object.fromEntries(LIMITS.map((limit) => [limit, value(limit)])) as Record<LimitName, T>
}

/** Blank is no limit. */
export function numberOf(text: string | number | null): number | null {
  return text === '' || text === null ? null : Number(text)
}

/** A time in the form that the browser's own control takes. */
export function localTime(atMs: number): string {
  const date = new Date(atMs)
  const two = (number: number) => String(number).padStart(2, '0')
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
  return `${day}T${two(date.getHours())}:${two(date.getMinutes())}`
}

/** All zones that the browser knows, the chosen one among them. */
export function timeZones(chosen: string): string[] {
  return [...new Set([DEFAULT_ZONE, 'UTC', chosen, ...Intl.supportedValuesOf('timeZone')])].filter(Boolean)
}
