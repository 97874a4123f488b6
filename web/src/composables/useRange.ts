import { computed, ref } from 'vue'
import { useQueryState } from './useQueryState'
import type { Range } from '@/api/stats'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

export const RANGES = {
  '15m': 15 * MINUTE,
  '1h': HOUR,
  '6h': 6 * HOUR,
  '24h': DAY,
  '7d': 7 * DAY,
  '30d': 30 * DAY,
  '90d': 90 * DAY,
} as const
export type RangeName = keyof typeof RANGES
export const RANGE_NAMES = Object.keys(RANGES) as RangeName[]

/** The range up to now that a page looks at; it lives in the address. */
export function useRange(fallback: RangeName = '24h') {
  const chosen = useQueryState('range')
  const isChosen = computed(() => chosen.value in RANGES)
  const usual = ref<RangeName>(fallback)
  const range = computed<RangeName>({
    get: () => (isChosen.value ? (chosen.value as RangeName) : usual.value),
    set: (value) => (chosen.value = value),
  })
  return {
    range,
    isChosen,
    /** What is shown while nobody has chosen. */
    usual,
    /** From and to in Unix milliseconds, at this moment. */
    bounds(): Range {
      const to_ms = Date.now()
      return { from_ms: to_ms - RANGES[range.value], to_ms }
    },
    /** How often figures of this range are worth another look, in milliseconds. */
    refreshMs: computed(() => Math.min(60_000, Math.max(5_000, RANGES[range.value] / 360))),
  }
}
