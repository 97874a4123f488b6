import { describe, expect, it } from 'vitest'
import { columnsOf, ended, filled, paintedFirst, stacked, summaryOf } from '@/components/charts/data'
import { lonely } from '@/components/charts/options'

const line = (name: string, points: [number, number | null][]) => ({ name, color: '--series-1', points })

describe('the columns of a chart', () => {
  it('share their times, with gaps where a line has no point', () => {
    const columns = columnsOf([line('a', [[1_000, 5], [2_000, 6]]), line('b', [[2_000, 7], [3_000, null]])])
    expect(columns).toEqual([[1, 2, 3], [5, 6, null], [null, 7, null]])
  })

  it('lie on each other when they are stacked', () => {
    expect(stacked([[1, 2, 3], [1, null, null], [2, 3, null]])).toEqual([[1, 2, 3], [1, 0, null], [3, 3, null]])
  })
})

describe('a value without neighbours', () => {
  it('is found, as it would not be seen', () => {
    expect(lonely([null, 3, null, 4, 5, null, 6])).toEqual([1, 6])
    expect(lonely([])).toEqual([])
  })
})

describe('the bucket that is still filling', () => {
  const series = (...values: (number | null)[]) => [{ points: values.map((value, index) => [index * 60_000, value] as const) }]

  it('is left out of counts, as half a minute looks like a fall', () => {
    expect(ended(series(7, 8, 3), 60_000, 150_000)).toEqual(series(7, 8))
  })

  it('is shown where there is nothing else yet, or where one would wait for long', () => {
    expect(ended(series(0, null, 3), 60_000, 150_000)).toEqual(series(0, null, 3))
    expect(ended(series(7, 8, 3), 900_000, 150_000)).toEqual(series(7, 8, 3))
  })
})

describe('the words of a chart', () => {
  it('give each line with its last value and its range, and the time of all', () => {
    const lines = [line('a', [[1_000, 5], [2_000, 9], [3_000, null]]), line('b', [[2_000, 7], [4_000, 0]]), line('c', [[1_000, null]])]
    expect(summaryOf(lines)).toEqual({
      fromMs: 1_000,
      toMs: 4_000,
      lines: [{ name: 'a', latest: 9, low: 5, high: 9 }, { name: 'b', latest: 0, low: 0, high: 7 }],
    })
    expect(summaryOf([line('c', [[1_000, null]])])).toBeNull()
  })
})

describe('bars of layers', () => {
  it('are painted from the highest down, since each covers those behind it', () => {
    expect(paintedFirst([[1, 2], [1, 2], [3, 4]])).toEqual([[1, 2], [3, 4], [1, 2]])
  })
})

describe('days of which nothing came', () => {
  const DAY = 86_400_000

  it('are zero, from the begin of the range to its end', () => {
    expect(filled([[5 * DAY, 7], [7 * DAY, 8]], DAY, 3.5 * DAY, 8.2 * DAY)).toEqual([[4 * DAY, 0], [5 * DAY, 7], [6 * DAY, 0], [7 * DAY, 8], [8 * DAY, 0]])
  })

  it('do not come twice when clocks are changed between them', () => {
    const hour = DAY / 24
    expect(filled([[5 * DAY, 7], [6 * DAY + hour, 8]], DAY, 5 * DAY, 6 * DAY + 2 * hour)).toEqual([[5 * DAY, 7], [6 * DAY + hour, 8]])
    expect(filled([], DAY, 0, 9 * DAY)).toEqual([])
  })
})
