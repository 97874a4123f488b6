import { computed, readonly, ref } from 'vue'
import { ApiError } from '@/api/client'
import { cancelJob, findJob, undoJob, type Job } from '@/api/jobs'
import { onLive } from './useEvents'
import { useToasts } from './useToasts'

/** Jobs that somebody may want to see, the newest first. */
const jobs = ref<Job[]>([])
const KEPT = 5
const POLL_MS = 1_500
const finishedListeners = new Set<(job: Job) => void>()

/** What was told of a job. An older answer may come later; a job that has ended does not run again. */
function update(job: Job) {
  const known = jobs.value.find(({ id }) => id === job.id)
  if (known?.state !== 'running') return
  jobs.value = jobs.value.map((other) => (other.id === job.id ? job : other))
  if (job.state !== 'running') finishedListeners.forEach((listener) => listener(job))
}

/** Shows a job until somebody has seen how it ended. */
function follow(job: Job) {
  if (jobs.value.some(({ id, state }) => id === job.id && state !== 'running')) return
  jobs.value = [{ ...job, state: 'running' as const }, ...jobs.value.filter(({ id }) => id !== job.id)].slice(0, KEPT)
  if (job.state === 'running') setTimeout(() => void poll(job.id), POLL_MS)
  else update(job)
}

/** A job that runs already when the page is opened, or that was begun elsewhere, is followed as well. */
function hear(job: Job) {
  if (job.state === 'running' && !jobs.value.some(({ id }) => id === job.id)) follow(job)
  else update(job)
}

/** Asks for a job until it ends, for when the stream of events is interrupted. */
async function poll(id: string) {
  try {
    update(await findJob(id))
  } catch (error) {
    // A job that the server forgot, as after a restart, is over; any other failure may pass.
    if (error instanceof ApiError && error.status === 404) jobs.value = jobs.value.filter((job) => job.id !== id)
  }
  if (jobs.value.some((job) => job.id === id && job.state === 'running')) setTimeout(() => void poll(id), POLL_MS)
}

/** Changes of many keys that run at the server. */
export function useJobs() {
  const { fail } = useToasts()
  return {
    jobs: readonly(jobs),
    isRunning: computed(() => jobs.value.some((job) => job.state === 'running')),
    follow,
    async cancel(id: string) {
      await cancelJob(id).catch(fail)
    },
    async undo(id: string) {
      try {
        const answer = await undoJob(id)
        jobs.value = jobs.value.filter((job) => job.id !== id)
        follow('job' in answer ? answer.job : answer)
      } catch (error) {
        fail(error)
      }
    },
    dismiss(id: string) {
      jobs.value = jobs.value.filter((job) => job.id !== id)
    },
    /** Hears of jobs that end; call it in `setup`. */
    listen: () => onLive('job', hear),
    onFinished(listener: (job: Job) => void): () => void {
      finishedListeners.add(listener)
      return () => finishedListeners.delete(listener)
    },
  }
}
