import { computed, type WritableComputedRef } from 'vue'
import { useRoute, useRouter } from 'vue-router'

let pending: Record<string, string | undefined> = {}

/** A text that lives in the address, so that a view can be bookmarked and shared. Empty means the default. */
export function useQueryState(name: string, fallback = ''): WritableComputedRef<string> {
  const route = useRoute()
  const router = useRouter()
  return computed({
    get: () => {
      const value = route.query[name]
      return typeof value === 'string' ? value : fallback
    },
    set: (value) => {
      // Several changes in one go must not undo each other.
      const isFirst = Object.keys(pending).length === 0
      pending[name] = value === fallback || value === '' ? undefined : value
      if (!isFirst) return
      queueMicrotask(() => {
        const query = { ...route.query, ...pending }
        pending = {}
        void router.replace({ query })
      })
    },
  })
}
