import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { effectScope, nextTick, ref } from 'vue'
import { usePagedRows } from '@/composables/usePagedRows'

interface Asked {
  filter: string
  offset: number
  answer: (items: string[], total?: number) => Promise<void>
  fail: () => Promise<void>
}
const settle = () => new Promise<void>((resolve) => setImmediate(resolve))

describe('the rows of a long list', () => {
  const filter = ref('old')
  let asked: Asked[] = []
  let scope = effectScope()
  beforeEach(() => {
    filter.value = 'old'
    asked = []
    scope = effectScope()
  })
  afterEach(() => {
    vi.useRealTimers()
    scope.stop()
  })
  const begin = () =>
    scope.run(() =>
      usePagedRows<string, { items: string[]; total: number }>(
        (offset) =>
          new Promise((resolve, reject) => {
            asked.push({
              filter: filter.value,
              offset,
              answer: (items, total = items.length) => (resolve({ items, total }), settle()),
              fail: () => (reject(new Error('no')), settle()),
            })
          }),
        [filter],
      ),
    )!
  const shown = ({ row, total }: ReturnType<typeof begin>) => Array.from({ length: Math.min(total.value, 3) }, (_, index) => row(index))
  async function change(to: string) {
    filter.value = to
    await nextTick()
  }

  it('stay until those of another filter have come, and are known to be of the one before', async () => {
    const rows = begin()
    expect(rows.isCurrent.value).toBe(false)
    await asked[0]!.answer(['a', 'b'])
    expect([shown(rows), rows.isCurrent.value]).toEqual([['a', 'b'], true])
    await change('new')
    expect([shown(rows), rows.isCurrent.value]).toEqual([['a', 'b'], false])
    await asked[1]!.answer(['c'])
    expect([shown(rows), rows.isCurrent.value]).toEqual([['c'], true])
  })

  it('are not taken for those of a filter that could not be read, until that is read', async () => {
    const rows = begin()
    await asked[0]!.answer(['a'])
    await change('new')
    await asked[1]!.fail()
    expect([rows.isCurrent.value, rows.error.value]).toEqual([false, new Error('no')])
    void rows.refresh()
    expect(rows.error.value).not.toBeNull()
    await asked[2]!.answer(['c'])
    expect([shown(rows), rows.isCurrent.value, rows.error.value]).toEqual([['c'], true, null])
  })

  it('are still those of the filter when a later look fails, which says nothing of the next filter', async () => {
    const rows = begin()
    await asked[0]!.answer(['a'])
    void rows.refresh()
    await asked[1]!.fail()
    expect([shown(rows), rows.isCurrent.value, rows.error.value]).toEqual([['a'], true, new Error('no')])
    await change('new')
    expect(rows.error.value).toBeNull()
  })

  it('are of one filter alone, whichever page of it comes first', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const rows = begin()
    await asked[0]!.answer(Array.from({ length: 100 }, () => 'old'), 300)
    await change('new')
    rows.show(100, 120)
    vi.runAllTimers()
    expect(asked.map(({ filter: of, offset }) => [of, offset])).toEqual([['old', 0], ['new', 0], ['new', 100]])
    await asked[2]!.answer(['y'], 101)
    expect([rows.row(0), rows.row(100)]).toEqual([undefined, 'y'])
    await asked[1]!.answer(['x'], 101)
    expect([rows.row(0), rows.row(100), rows.loaded()]).toEqual(['x', 'y', ['y', 'x']])
  })
})
