import { describe, expect, it } from 'vitest'
import type { QuotaRow } from '@/api/keys'
import { usedOf } from '@/components/keys/quotas'

const NOW = 1_000_000
const DAY: QuotaRow = { model: 'flash', window: 'day', metric: 'requests', used: 0, limit: 20, source: 'learnt', resets_at_ms: null }
const refused = (window: string, until_ms: number | null) => [{ model: 'flash', window, until_ms, reason: 'quota_day' }]

describe('what is used of a quota', () => {
  it('is all of it while Google refuses the model until the end of the day', () => {
    expect(usedOf(DAY, refused('day', NOW + 1), NOW)).toBe(20)
    expect(usedOf({ ...DAY, used: 31 }, refused('day', null), NOW)).toBe(31)
  })

  it('is what was counted otherwise', () => {
    expect(usedOf({ ...DAY, used: 3 }, [], NOW)).toBe(3)
    expect(usedOf({ ...DAY, used: 3 }, refused('day', NOW), NOW)).toBe(3)
    expect(usedOf({ ...DAY, used: 3 }, refused('minute', NOW + 1), NOW)).toBe(3)
    expect(usedOf({ ...DAY, model: 'pro', used: 3 }, refused('day', NOW + 1), NOW)).toBe(3)
  })

  it('is nothing once its window has passed', () => {
    expect(usedOf({ ...DAY, used: 3, resets_at_ms: NOW }, [], NOW)).toBe(0)
  })
})
