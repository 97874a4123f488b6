import { onScopeDispose, ref, shallowRef, watch } from 'vue'
import { openEvents, type EventBodies, type Figures, type Topic } from '@/api/events'
import type { StateCounts } from '@/api/types'

type Name = keyof EventBodies
type Hear = (body: never) => void

const TOPICS: Record<Name, Topic> = {
  figures: 'figures',
  keys: 'keys',
  job: 'jobs',
  requests: 'requests',
  settings: 'settings',
}
/** When the browser gives up by itself, as after a refusal. */
const RETRY_MS = 5_000

const listeners = new Map<Name, Set<Hear>>()
const figures = shallowRef<Figures | null>(null)
const states = shallowRef<StateCounts | null>(null)
const isLive = ref(false)
let close: (() => void) | null = null
let opened = ''
let timer: ReturnType<typeof setTimeout> | undefined

function hear<K extends Name>(name: K, body: EventBodies[K]) {
  if (name === 'figures') figures.value = body as Figures
  if (name === 'figures' || name === 'keys') states.value = (body as Figures).states ?? states.value
  listeners.get(name)?.forEach((listener) => listener(body as never))
}

/** Keeps one stream open with the topics that somebody listens to. */
function connect() {
  const topics = [...listeners].filter(([, set]) => set.size > 0).map(([name]) => TOPICS[name])
  const wanted = topics.sort().join()
  if (wanted === opened) return
  close?.()
  close = null
  opened = wanted
  isLive.value = false
  if (!wanted) return
  close = openEvents(topics, {
    onEvent: hear,
    onOpen: () => (isLive.value = true),
    onError(isOver) {
      isLive.value = false
      if (isOver) reconnectLater()
    },
  })
}

function reconnectLater() {
  opened = ''
  clearTimeout(timer)
  timer = setTimeout(connect, RETRY_MS)
}

// Components that come and go together change the topics once.
let isPlanned = false
function plan() {
  if (isPlanned) return
  isPlanned = true
  queueMicrotask(() => {
    isPlanned = false
    connect()
  })
}

/** Hears events of one kind until the component is gone. */
export function onLive<K extends Name>(name: K, listener: (body: EventBodies[K]) => void) {
  const set = listeners.get(name) ?? new Set<Hear>()
  listeners.set(name, set.add(listener as Hear))
  plan()
  onScopeDispose(() => {
    set.delete(listener as Hear)
    plan()
  })
}

/**
 * Called whenever the stream opens: what happened before that nobody told, be it before the first time or while it was
 * interrupted. Whoever shows a list and hears of changes reads the list anew then.
 */
export function onStreamOpen(listener: () => void) {
  watch(isLive, (live) => live && listener())
}

/** The last figures of the pool. */
export function useLive() {
  return { figures, states, isLive }
}
