import { get, post, remove } from './client'

/** A change of many keys that runs at the server. */
export interface Job {
  id: string
  action: string
  total: number
  done: number
  failed: number
  state: 'running' | 'done' | 'cancelled'
  started_at_ms: number
  finished_at_ms: number | null
  can_undo: boolean
  /** How many ended in which way. */
  summary: Record<string, number>
  errors: { id: number; masked: string; message: string }[]
}

export const findJob = (id: string) => get<Job>(`jobs/${id}`)
export const cancelJob = (id: string) => remove(`jobs/${id}`)
export const undoJob = (id: string) => post<Job | { job: Job }>(`jobs/${id}/undo`)
