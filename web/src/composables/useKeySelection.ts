import { computed, ref, watch, type Ref } from 'vue'
import type { KeyActionRequest, KeyFilter } from '@/api/keys'

/** Which keys an action is about: single ones, or all of the filter; `loaded` gives those of them that are known. */
export function useKeySelection(filter: Ref<KeyFilter>, total: Ref<number>, loaded: () => readonly { id: number }[]) {
  const ids = ref(new Set<number>())
  const all = ref(false)

  function clear() {
    ids.value = new Set()
    all.value = false
  }
  watch(filter, clear)

  return {
    all,
    count: computed(() => (all.value ? total.value : ids.value.size)),
    has: (id: number) => all.value || ids.value.has(id),
    toggle(id: number) {
      // "All but these" cannot be said to the server: what is left of all are the keys that are known, which is counted.
      const next = new Set(all.value ? loaded().map((key) => key.id) : ids.value)
      if (!next.delete(id)) next.add(id)
      ids.value = next
      all.value = false
    },
    toggleAll() {
      ids.value = new Set()
      all.value = !all.value
    },
    clear,
    /** As the API wants it. */
    target: (): Pick<KeyActionRequest, 'ids' | 'filter'> => (all.value ? { filter: filter.value } : { ids: [...ids.value] }),
  }
}

export type KeySelection = ReturnType<typeof useKeySelection>
