import { onScopeDispose, ref, shallowRef, triggerRef, watch, type WatchSource } from 'vue'

const PAGE = 100
/** A quick scroll passes many pages; those that are left behind at once are not asked for. */
const SETTLE_MS = 70

interface Answer<T> {
  items: T[]
  total: number | null
}

/**
 * Rows of a long list, asked for where they are looked at. `row` gives what is known of one; the rest of the last
 * answer is `meta`.
 */
export function usePagedRows<T, A extends Answer<T>>(
  load: (offset: number, limit: number, signal: AbortSignal) => Promise<A>,
  on: WatchSource[],
) {
  const pages = shallowRef(new Map<number, T[]>())
  const meta = shallowRef<A | null>(null)
  const total = ref(0)
  const error = shallowRef<unknown>(null)
  const isCurrent = ref(false)
  const asked = new Map<number, AbortController>()
  let seen = [0, 0]
  let timer: ReturnType<typeof setTimeout> | undefined

  async function fetchPage(page: number) {
    asked.get(page)?.abort()
    const own = new AbortController()
    asked.set(page, own)
    try {
      const answer = await load(page * PAGE, PAGE, own.signal)
      if (own.signal.aborted) return
      // Whatever is answered was asked of this list: rows of the one before it have had their time.
      if (!isCurrent.value) pages.value = new Map()
      isCurrent.value = true
      meta.value = answer
      total.value = answer.total ?? page * PAGE + answer.items.length
      pages.value.set(page, answer.items)
      triggerRef(pages)
      error.value = null
    } catch (cause) {
      if (!own.signal.aborted) error.value = cause
    } finally {
      if (asked.get(page) === own) asked.delete(page)
    }
  }

  const visible = () => {
    const [first = 0, last = 0] = seen
    const from = Math.floor(first / PAGE)
    return Array.from({ length: Math.floor(last / PAGE) - from + 1 }, (_, index) => from + index)
  }

  /** These rows are looked at: what is missing of them is fetched. */
  function show(first: number, last: number) {
    seen = [first, Math.max(first, last)]
    clearTimeout(timer)
    timer = setTimeout(() => {
      for (const page of visible()) if (!pages.value.has(page) && !asked.has(page)) void fetchPage(page)
    }, SETTLE_MS)
  }

  /** Fetches anew what is looked at, and forgets the rest; nothing disappears meanwhile. */
  async function refresh() {
    const wanted = visible()
    for (const page of [...pages.value.keys()]) if (!wanted.includes(page)) pages.value.delete(page)
    await Promise.all(wanted.map(fetchPage))
  }

  /** Another list: begins at its start. */
  async function restart() {
    asked.forEach((one) => one.abort())
    asked.clear()
    seen = [0, 0]
    isCurrent.value = false
    error.value = null
    await fetchPage(0)
  }

  watch(on, restart, { immediate: true })
  onScopeDispose(() => {
    clearTimeout(timer)
    asked.forEach((one) => one.abort())
  })
  return {
    total,
    meta,
    error,
    /** Whether the rows are those that are asked for, and not yet or still those of the list before. */
    isCurrent,
    show,
    refresh,
    row: (index: number) => pages.value.get(Math.floor(index / PAGE))?.[index % PAGE],
    /** All rows that are known, in no order. */
    loaded: () => [...pages.value.values()].flat(),
  }
}
