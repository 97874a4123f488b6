import { beforeEach, describe, expect, it, vi } from 'vitest'
import { ApiError } from '@/api/client'
import type { Job } from '@/api/jobs'

const stream = { hear: (job: Job): unknown => job }
const findJob = vi.fn<(id: string) => Promise<Job>>()
vi.mock('@/composables/useEvents', () => ({ onLive: (_: string, hear: (job: Job) => void) => (stream.hear = hear) }))
vi.mock('@/api/jobs', () => ({ findJob: (id: string) => findJob(id), cancelJob: vi.fn(), undoJob: vi.fn() }))
const { useJobs } = await import('@/composables/useJobs')

const job = (id: string, done: number, state: Job['state'] = 'running'): Job => ({
  id, action: 'disable', total: 10, done, failed: 0, state, started_at_ms: 0, finished_at_ms: null, can_undo: state === 'done', summary: {}, errors: [],
})
const POLL_MS = 1_500

describe('the jobs of a page', () => {
  const { jobs, follow, listen, onFinished, dismiss } = useJobs()
  const finished = vi.fn()
  beforeEach(() => {
    vi.useFakeTimers()
    findJob.mockReset()
    finished.mockReset()
    for (const { id } of [...jobs.value]) dismiss(id)
    return onFinished((one) => finished(one.id))
  })
  listen()
  const shown = () => jobs.value.map(({ id, state, done }) => `${id} ${state} ${done}`)

  it('are followed also when they were begun elsewhere, or before the page was there', () => {
    stream.hear(job('a', 3))
    stream.hear(job('a', 10, 'done'))
    stream.hear(job('b', 10, 'done'))
    expect(shown()).toEqual(['a done 10'])
    expect(finished.mock.calls).toEqual([['a']])
  })

  it('end once, whatever older answer comes later', async () => {
    findJob.mockResolvedValue(job('a', 5))
    stream.hear(job('a', 0))
    stream.hear(job('a', 10, 'done'))
    await vi.advanceTimersByTimeAsync(POLL_MS)
    follow(job('a', 0))
    expect(shown()).toEqual(['a done 10'])
    expect(finished).toHaveBeenCalledTimes(1)
  })

  it('are asked for until they end, through failures that pass', async () => {
    findJob.mockRejectedValueOnce(new ApiError(0, 'unreachable', '')).mockResolvedValueOnce(job('a', 10, 'done'))
    follow(job('a', 0))
    await vi.advanceTimersByTimeAsync(POLL_MS)
    expect(shown()).toEqual(['a running 0'])
    await vi.advanceTimersByTimeAsync(POLL_MS)
    expect(shown()).toEqual(['a done 10'])
  })

  it('are gone when the server knows nothing of them', async () => {
    findJob.mockRejectedValue(new ApiError(404, 'not_found', ''))
    follow(job('a', 0))
    await vi.advanceTimersByTimeAsync(POLL_MS)
    expect(shown()).toEqual([])
  })
})
