import { computed, reactive } from 'vue'
import { FILTERS, queryOf, type Filters } from './filter'
import { useQueryState } from '@/composables/useQueryState'

/** The filters of the request log, in the address. */
export function useRequestFilters() {
  const filters = reactive(Object.fromEntries(FILTERS.map((name) => [name, useQueryState(name)]))) as unknown as Filters
  const query = computed(() => queryOf(filters))
  return {
    filters,
    query,
    /** Those that are set. */
    active: computed(() => FILTERS.filter((name) => filters[name])),
    clear: () => FILTERS.forEach((name) => (filters[name] = '')),
  }
}
