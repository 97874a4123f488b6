import { computed, onScopeDispose, ref, shallowRef, watch, type Ref } from 'vue'
import { matches, prepended } from './filter'
import { listRequests, type LogFilter, type RequestRow } from '@/api/requests'
import { onLive, useLive } from '@/composables/useEvents'
import { useResource } from '@/composables/useResource'
import { useToasts } from '@/composables/useToasts'

const PAGE = 100
/** More rows than these a page does not keep while it follows. */
const FOLLOWED = 300
/** What has ended is in the log within half a second; many requests are read together. */
const WRITTEN_AFTER_MS = 2_000

/** The log, newest first: a page at a time into the past, and what comes in meanwhile while `isLive`. */
export function useRequestLog(filter: Ref<LogFilter>, bounds: () => { from_ms: number; to_ms: number }, isLive: Ref<boolean>) {
  const rows = shallowRef<RequestRow[]>([])
  const cursor = ref<string | null>(null)
  const total = ref<{ count: number; isExact: boolean } | null>(null)
  const missed = ref(0)
  const isLoadingMore = ref(false)
  const { fail } = useToasts()
  const { isLive: isConnected } = useLive()
  /** What came in while an answer is awaited, which may know nothing of it. */
  let arrived: RequestRow[] = []

  // The end stays open: a page of the past goes on where the one before it ended, whatever came meanwhile.
  const since = ref(bounds().from_ms)
  const asked = computed<LogFilter>(() => ({ ...filter.value, from_ms: since.value }))
  const { data, error, isBusy, reload } = useResource((signal) => {
    since.value = bounds().from_ms
    arrived = []
    return listRequests({ ...filter.value, from_ms: since.value }, null, PAGE, signal)
  }, { on: filter })

  watch(data, (page) => {
    if (!page) return
    rows.value = prepended(arrived, page.items, FOLLOWED)
    cursor.value = page.next_cursor
    const count = page.total ?? page.total_at_least
    total.value = count == null ? null : { count, isExact: page.total !== null }
    missed.value = 0
  })

  async function loadMore() {
    if (!cursor.value || isLoadingMore.value) return
    isLoadingMore.value = true
    try {
      const page = await listRequests(asked.value, cursor.value, PAGE)
      const known = new Set(rows.value.map(({ id }) => id))
      rows.value = [...rows.value, ...page.items.filter(({ id }) => !known.has(id))]
      cursor.value = page.next_cursor
    } catch (cause) {
      fail(cause)
    } finally {
      isLoadingMore.value = false
    }
  }

  onLive('requests', ({ items, more }) => {
    if (!isLive.value) return
    const fresh = items.filter((row) => matches(row, filter.value))
    if (items.some((row) => matches(row, filter.value) === undefined)) readLater()
    missed.value += more
    if (isBusy.value) arrived.push(...fresh)
    if (fresh.length > 0) follow(fresh)
  })
  watch(isLive, (live) => live && void reload())
  watch(isConnected, (connected) => connected && isLive.value && void catchUp())

  /** Requests of which the log alone can tell whether they belong here. */
  let reading: ReturnType<typeof setTimeout> | undefined
  function readLater() {
    reading ??= setTimeout(() => {
      reading = undefined
      if (isLive.value) void catchUp()
    }, WRITTEN_AFTER_MS)
  }
  onScopeDispose(() => clearTimeout(reading))

  function follow(fresh: RequestRow[]) {
    rows.value = prepended(fresh, rows.value, Math.max(FOLLOWED, rows.value.length))
  }

  /** Adds what nobody told: while the stream was not open, or since a row does not tell all. */
  async function catchUp() {
    if (rows.value.length === 0) return reload()
    const query = asked.value
    const page = await listRequests(query, null, PAGE).catch(() => null)
    if (!page || query !== asked.value) return
    const known = new Set(rows.value.map(({ id }) => id))
    if (page.items.length === 0 || page.items.some(({ id }) => known.has(id))) follow(page.items)
    else await reload()
  }

  return { rows, total, missed, error, isBusy, isLoadingMore, hasMore: computed(() => cursor.value !== null), data, reload, loadMore }
}
