import type { KeyChangeEvent } from '@/api/events'
import type { KeyEvent } from '@/api/keys'
import type { KeyState } from '@/api/types'

/** A key that came into another state. */
export interface StateChange {
  id: number
  masked: string | null
  label: string | null
  from: KeyState | null
  to: KeyState
  reason: string | null
  at_ms: number
}

/** The same change is told at once and read a moment later, with clocks that were read apart. */
const SAME_WITHIN_MS = 2_000

/** What was told live, and what was read before, the newest first and each once. */
export function mergeChanges(live: readonly KeyChangeEvent[], stored: readonly KeyEvent[], most: number): StateChange[] {
  const isTold = (change: StateChange) =>
    live.some(({ id, to, at_ms }) => id === change.id && to === change.to && Math.abs(at_ms - change.at_ms) < SAME_WITHIN_MS)
  const read = stored.flatMap(({ key_id: id, masked, label, from, to, reason, last_at_ms: at_ms }) =>
    to ? [{ id, masked, label, from, to, reason, at_ms }] : [],
  )
  return [...live, ...read.filter((change) => !isTold(change))].sort((a, b) => b.at_ms - a.at_ms).slice(0, most)
}
