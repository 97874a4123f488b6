import { computed } from 'vue'
import { useQueryState } from './useQueryState'
import type { KeyFilter } from '@/api/keys'

export const KEY_FILTER_NAMES = ['q', 'state', 'tag', 'project', 'tier', 'model'] as const

/** Which keys the page shows; everything lives in the address. */
export function useKeyFilter() {
  const fields = {
    q: useQueryState('q'),
    state: useQueryState('state'),
    tag: useQueryState('tag'),
    project: useQueryState('project'),
    tier: useQueryState('tier'),
    model: useQueryState('model'),
  }
  const filter = computed<KeyFilter>(() => {
    const { state, ...texts } = Object.fromEntries(KEY_FILTER_NAMES.map((name) => [name, fields[name].value]).filter(([, value]) => value))
    const states = (state ?? '').split(',').filter(Boolean)
    return { ...texts, ...(states.length > 0 ? { state: states } : {}) }
  })
  return {
    fields,
    filter,
    sort: useQueryState('sort'),
    isNarrowed: computed(() => Object.keys(filter.value).length > 0),
    clear() {
      for (const name of KEY_FILTER_NAMES) fields[name].value = ''
    },
  }
}
