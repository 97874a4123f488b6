import { queryString, send } from './client'
import type { TokenView } from './tokens'
import type { UsageRow } from './types'

export type OwnToken = Pick<
  TokenView,
  'name' | 'prefix' | 'state' | 'expires_at_ms' | 'last_used_at_ms' | 'rate_limits' | 'max_concurrent' | 'time_zone' | 'models' | 'usage'
>

/** What the holder of a client token is told of their own use; figures where the gateway keeps them. */
export interface OwnUsage {
  token: OwnToken
  totals?: UsageRow
  days?: (UsageRow & { at_ms: number })[]
  models?: UsageRow[]
}

export async function findOwnUsage(token: string, range: { from_ms: number; to_ms: number }, signal?: AbortSignal): Promise<OwnUsage> {
  const response = await send('GET', `/api/usage${queryString(range)}`, { bearer: token, signal })
  return (await response.json()) as OwnUsage
}
