import { nextTick, ref, watch, type Ref } from 'vue'

interface Rows {
  /** How many there are, also out of sight. */
  count: () => number
  /** How many are in sight at once. */
  inSight: () => number
  /** The first and the last that are made. */
  made: () => readonly [first: number, last: number]
  /** Scrolls until this one is in sight. */
  reveal: (index: number) => void
}

/** Which row of a long table has the focus: one at a time, which arrows, page keys, Home and End move. */
export function useRowFocus(box: Ref<HTMLElement | null>, rows: Rows) {
  const current = ref(0)
  /** Where the focus is to go as soon as the row is made. */
  let wanted: number | null = null

  function land() {
    if (wanted === null) return
    const row = box.value?.querySelector<HTMLElement>(`[role=row][aria-rowindex="${wanted + 2}"]`)
    if (!row) return
    wanted = null
    row.focus({ preventScroll: true })
  }
  watch(rows.made, land, { flush: 'post' })

  function move(to: number) {
    const last = rows.count() - 1
    if (last < 0) return
    wanted = current.value = Math.min(last, Math.max(0, to))
    rows.reveal(wanted)
    void nextTick(land)
  }

  const STEPS: Record<string, () => number> = {
    ArrowDown: () => current.value + 1,
    ArrowUp: () => current.value - 1,
    PageDown: () => current.value + rows.inSight(),
    PageUp: () => current.value - rows.inSight(),
    Home: () => 0,
    End: () => rows.count() - 1,
  }

  return {
    /** The row that Tab leads to: the last one that had the focus, or the first in sight when that one has been scrolled away. */
    isStop(index: number): boolean {
      const [first, last] = rows.made()
      const stop = current.value < first || current.value > last ? first : current.value
      return index === stop
    },
    onFocus: (index: number) => (current.value = index),
    /** Whether the key was one of those that move. */
    onKey(event: KeyboardEvent): boolean {
      const step = STEPS[event.key]
      if (!step || event.ctrlKey || event.metaKey || event.altKey) return false
      event.preventDefault()
      move(step())
      return true
    },
  }
}
