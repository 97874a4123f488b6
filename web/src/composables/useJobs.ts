import { computed, readonly, ref } from 'vue'
import { cancelJob, findJob, undoJob, type Job } from '@/api/jobs'
import { onLive } from './useEvents'
import { useToasts } from './useToasts'

/** Jobs of this page that somebody may want to see, the newest first. */
const jobs = ref<Job[]>([])
const KEPT = 5
const POLL_MS = 1_500
const finishedListeners = new Set<(job: Job) => void>()

function update(job: Job) {
  const known = jobs.value.find(({ id }) => id === job.id)
  if (!known) return
  const isOver = known.state === 'running' && job.state !== 'running'
  jobs.value = jobs.value.map((other) => (other.id === job.id ? job : other))
  if (isOver) finishedListeners.forEach((listener) => listener(job))
}

/** Asks for a job until it ends, for when the stream of events is interrupted. */
async function poll(id: string) {
  try {
    const job = await findJob(id)
    update(job)
    if (job.state === 'running') setTimeout(() => void poll(id), POLL_MS)
  } catch {
    // A job that the server forgot, as after a restart, is over.
    jobs.value = jobs.value.filter((job) => job.id !== id)
  }
}

/** Changes of many keys that run at the server. */
export function useJobs() {
  const { fail } = useToasts()
  function follow(job: Job) {
    jobs.value = [{ ...job, state: 'running' as const }, ...jobs.value.filter(({ id }) => id !== job.id)].slice(0, KEPT)
    if (job.state === 'running') setTimeout(() => void poll(job.id), POLL_MS)
    else update(job)
  }
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
    listen: () => onLive('job', update),
    onFinished(listener: (job: Job) => void): () => void {
      finishedListeners.add(listener)
      return () => finishedListeners.delete(listener)
    },
  }
}
