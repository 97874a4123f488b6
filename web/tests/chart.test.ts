import { describe, expect, it } from 'vitest'
import { columnsOf, stacked } from '@/components/charts/data'
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
