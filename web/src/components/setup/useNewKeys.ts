import { computed, onScopeDispose, ref, shallowRef } from 'vue'
import { findJob, type Job } from '@/api/jobs'
import { listKeys, startKeyAction, type KeyList } from '@/api/keys'
import { useKeyText } from '@/components/keys/useKeyText'

const POLL_MS = 500
const SHOWN = 6

/** The first keys: adding them, and what Google says of them. */
export function useNewKeys(onChanged: () => void) {
  const { text, preview, problem, isBusy, run, add } = useKeyText()
  const job = shallowRef<Job | null>(null)
  const list = shallowRef<KeyList | null>(null)
  /** How many Google accepted when it was asked last. */
  const accepted = ref<number | null>(null)
  let isGone = false
  onScopeDispose(() => (isGone = true))

  const look = async () => (list.value = await listKeys({ limit: SHOWN }))

  /** All keys, as it takes one that is accepted to believe what is said of the others. */
  async function verify() {
    job.value = await startKeyAction({ action: 'verify', filter: {} })
    while (job.value.state === 'running' && !isGone) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
      job.value = await findJob(job.value.id)
    }
    accepted.value = job.value.summary.accepted ?? 0
    job.value = null
  }

  return {
    text,
    preview,
    job,
    list,
    problem,
    isBusy,
    /** Keys that are in use, but for those that Google was asked about in vain. */
    working: computed(() => (accepted.value === 0 ? 0 : (list.value?.counts.active ?? 0))),
    look,
    /** Adds what was pasted and has Google asked about it, which costs no quota. */
    add: () =>
      run(async () => {
        await add()
        await verify()
        await look()
        onChanged()
      }),
  }
}
