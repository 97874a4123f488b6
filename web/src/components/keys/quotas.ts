import type { Cooldown, QuotaRow } from '@/api/keys'

/**
 * How much of a quota is gone. While Google refuses a model until the end of the day, all requests of the day are,
 * however few of them were counted here.
 */
export function usedOf(row: QuotaRow, cooldowns: readonly Cooldown[], now: number): number {
  if (row.resets_at_ms !== null && row.resets_at_ms <= now) return 0
  const isRefused =
    row.window === 'day' &&
    row.metric === 'requests' &&
    cooldowns.some(({ model, window, until_ms }) => model === row.model && window === 'day' && (until_ms ?? Infinity) > now)
  return isRefused ? Math.max(row.used, row.limit ?? 0) : row.used
}
