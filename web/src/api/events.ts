/** The server's events: one stream for the whole page, at most one message of a kind each second. */
import { adminUrl } from './client'
import type { Job } from './jobs'
import type { RequestRow } from './requests'
import type { KeyState, StateCounts } from './types'

export interface Figures {
  at_ms: number
  requests_per_second: number
  errors_per_second: number
  in_flight: number
  waiting: number
  tokens_per_minute: number
  states: StateCounts
}

export interface KeyChangeEvent {
  id: number
  masked: string
  label: string | null
  from: KeyState | null
  to: KeyState
  reason: string | null
  until_ms: number | null
  at_ms: number
}

export interface EventBodies {
  figures: Figures
  keys: { changes: KeyChangeEvent[]; more: number; states: StateCounts }
  job: Job
  requests: { items: RequestRow[]; more: number }
  settings: { version: number | string }
}

export type Topic = 'figures' | 'keys' | 'jobs' | 'requests' | 'settings'

export interface Listener {
  onEvent: <K extends keyof EventBodies>(name: K, body: EventBodies[K]) => void
  onOpen: () => void
  /** The stream broke; `isOver` when the browser won't try again by itself. */
  onError: (isOver: boolean) => void
}

const NAMES: readonly (keyof EventBodies)[] = ['figures', 'keys', 'job', 'requests', 'settings']

/** Opens the stream; the returned function closes it. */
export function openEvents(topics: readonly Topic[], listener: Listener): () => void {
  const source = new EventSource(adminUrl('events', { topics }))
  source.onopen = listener.onOpen
  source.onerror = () => listener.onError(source.readyState === EventSource.CLOSED)
  for (const name of NAMES) {
    source.addEventListener(name, (event: MessageEvent<string>) => {
      listener.onEvent(name, JSON.parse(event.data) as never)
    })
  }
  return () => source.close()
}
