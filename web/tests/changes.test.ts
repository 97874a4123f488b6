import { describe, expect, it } from 'vitest'
import type { KeyChangeEvent } from '@/api/events'
import type { KeyEvent } from '@/api/keys'
import { mergeChanges } from '@/components/overview/changes'

const told = (id: number, at_ms: number): KeyChangeEvent => ({
  id,
  at_ms,
  masked: 'AIza…',
  label: null,
  from: 'active',
  to: 'cooling',
  reason: 'failures',
  until_ms: null,
})
const read = (key_id: number, last_at_ms: number, to: KeyEvent['to'] = 'cooling'): KeyEvent => ({
  id: last_at_ms,
  key_id,
  masked: null,
  label: null,
  at_ms: last_at_ms,
  times: 1,
  last_at_ms,
  kind: 'state',
  from: 'active',
  to,
  reason: null,
  cause: null,
  model: null,
  until_ms: null,
  by: 'traffic',
})

describe('changes of state', () => {
  it('stand in the order of their times, and what was told live is not read again', () => {
    const merged = mergeChanges([told(1, 50_000)], [read(1, 49_200), read(2, 60_000), read(1, 10_000)], 10)

    expect(merged.map(({ id, at_ms }) => [id, at_ms])).toEqual([
      [2, 60_000],
      [1, 50_000],
      [1, 10_000],
    ])
  })

  it('are no more than there is room for, and events without a state are none', () => {
    expect(mergeChanges([], [read(1, 5, null)], 10)).toEqual([])
    expect(mergeChanges([told(1, 9), told(2, 8)], [read(3, 1)], 2)).toHaveLength(2)
  })
})
