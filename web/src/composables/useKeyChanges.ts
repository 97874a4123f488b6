import { readonly, ref } from 'vue'
import { onLive } from './useEvents'
import type { KeyChangeEvent } from '@/api/events'

const KEPT = 30
const changes = ref<KeyChangeEvent[]>([])

/** Collects changes of keys as long as the component is there; the shell does, so that no page misses any. */
export function collectKeyChanges() {
  onLive('keys', ({ changes: fresh }) => {
    const newestFirst = [...fresh].sort((a, b) => b.at_ms - a.at_ms)
    changes.value = [...newestFirst, ...changes.value].slice(0, KEPT)
  })
}

/** Keys that changed their state since the dashboard was opened, the newest first. */
export const useKeyChanges = () => readonly(changes)
