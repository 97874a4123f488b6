import { describe, expect, it, vi } from 'vitest'
import { computed, nextTick, reactive, ref } from 'vue'
import type { KeyFilter } from '@/api/keys'
import { useKeySelection } from '@/composables/useKeySelection'

const route = reactive({ query: {} as Record<string, string> })
vi.mock('vue-router', () => ({ useRoute: () => route, useRouter: () => ({}) }))
const { useKeyFilter } = await import('@/composables/useKeyFilter')

describe('the filter of the keys', () => {
  it('has its states as a list, as the server takes them, and nothing that is not set', () => {
    route.query = { state: 'invalid,cooling', tag: 'team' }
    const { filter, isNarrowed } = useKeyFilter()
    expect(filter.value).toEqual({ state: ['invalid', 'cooling'], tag: 'team' })
    route.query = { state: '' }
    expect([filter.value, isNarrowed.value]).toEqual([{}, false])
  })
})

describe('the chosen keys', () => {
  const filter = ref<KeyFilter>({ state: ['invalid'] })
  const begin = (loaded: number[], total = loaded.length) => useKeySelection(filter, ref(total), () => loaded.map((id) => ({ id })))

  it('are all of the filter, or single ones', () => {
    const selection = begin([1, 2, 3])
    selection.toggle(2)
    expect(selection.target()).toEqual({ ids: [2] })
    selection.toggleAll()
    expect([selection.target(), selection.count.value]).toEqual([{ filter: { state: ['invalid'] } }, 3])
  })

  it('are the others when one is taken out of all', () => {
    const selection = begin([1, 2, 3])
    selection.toggleAll()
    selection.toggle(2)
    expect(selection.target()).toEqual({ ids: [1, 3] })
    expect([selection.count.value, selection.all.value, selection.has(2)]).toEqual([2, false, false])
    selection.toggle(2)
    expect(selection.count.value).toBe(3)
  })

  it('are those that are known when one is taken out of more than that, and their number says so', () => {
    const selection = begin([1, 2, 3], 500)
    selection.toggleAll()
    expect(selection.count.value).toBe(500)
    selection.toggle(1)
    expect([selection.target(), selection.count.value]).toEqual([{ ids: [2, 3] }, 2])
  })

  it('are none under another filter', async () => {
    const other = ref<KeyFilter>({})
    const selection = useKeySelection(computed(() => other.value), ref(3), () => [])
    selection.toggleAll()
    other.value = { q: 'x' }
    await nextTick()
    expect(selection.count.value).toBe(0)
  })
})
