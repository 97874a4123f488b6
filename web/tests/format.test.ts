import { describe, expect, it } from 'vitest'
import { changeOf, formatBytes, formatCompact, formatDuration, formatPercent, formatRelative } from '@/composables/format'

describe('durations', () => {
  it.each([
    [0, '0ms'],
    [850, '850ms'],
    [1_240, '1.2s'],
    [42_400, '42s'],
    [185_000, '3m 5s'],
    [7_200_000, '2h'],
    [360_000_000, '4d 4h'],
  ])('%i ms is %s', (ms, text) => expect(formatDuration(ms, 'en')).toBe(text))
})

describe('numbers', () => {
  it('are in full while they are short', () => {
    expect(formatCompact(9_999, 'en')).toBe('9,999')
    expect(formatCompact(12_345, 'en')).toBe('12.3K')
    expect(formatCompact(12_345, 'zh-CN')).toBe('1.2万')
  })

  it('never claim full success where something failed', () => {
    expect(formatPercent(0.99999, 'en')).toBe('99.99%')
    expect(formatPercent(1, 'en')).toBe('100%')
    expect(formatPercent(0.5, 'en')).toBe('50%')
  })

  it('tell sizes in the unit that fits', () => {
    expect(formatBytes(512, 'en')).toBe('512 bytes')
    expect(formatBytes(1_400_000, 'en')).toBe('1.4 MB')
  })

  it('compare with before only where there was something', () => {
    expect(changeOf(110, 100)).toBeCloseTo(0.1)
    expect(changeOf(110, 0)).toBeNull()
    expect(changeOf(null, 5)).toBeNull()
  })
})

describe('relative times', () => {
  it('know past and future', () => {
    expect(formatRelative(0, 180_000, 'en')).toBe('3 min. ago')
    expect(formatRelative(7_200_000, 0, 'en')).toBe('in 2 hr.')
    expect(formatRelative(1_000, 0, 'en')).toBe('now')
  })
})
