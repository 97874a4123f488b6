import { computed, onScopeDispose, ref, shallowRef, watch } from 'vue'
import { createKeys, listKeys, startKeyAction, type ImportReport, type KeyList } from '@/api/keys'
import { findJob, type Job } from '@/api/jobs'
import { messageOf } from '@/composables/useToasts'

const PAUSE_MS = 350
const POLL_MS = 500
const SHOWN = 6

/** Keys out of a pasted text: what is in it, adding them, and what Google says of them. */
export function useNewKeys(onChanged: () => void) {
  const text = ref('')
  const preview = shallowRef<ImportReport | null>(null)
  const job = shallowRef<Job | null>(null)
  const list = shallowRef<KeyList | null>(null)
  /** How many Google accepted when it was asked last. */
  const accepted = ref<number | null>(null)
  const problem = ref('')
  const isBusy = ref(false)
  let timer: ReturnType<typeof setTimeout> | undefined
  let round = 0

  watch(text, () => {
    clearTimeout(timer)
    preview.value = null
    problem.value = ''
    const own = ++round
    if (!text.value.trim()) return
    timer = setTimeout(async () => {
      const report = await createKeys({ keys: text.value, dry_run: true }).catch((error) => {
        if (own === round) problem.value = messageOf(error)
      })
      if (report && own === round) preview.value = report
    }, PAUSE_MS)
  })
  onScopeDispose(() => {
    clearTimeout(timer)
    round = -1
  })

  const look = async () => (list.value = await listKeys({ limit: SHOWN }))

  /** All keys, as it takes one that is accepted to believe what is said of the others. */
  async function verify() {
    job.value = await startKeyAction({ action: 'verify', filter: {} })
    while (job.value.state === 'running' && round >= 0) {
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
    async add() {
      isBusy.value = true
      problem.value = ''
      try {
        await createKeys({ keys: text.value }, crypto.randomUUID?.())
        text.value = ''
        await verify()
        await look()
        onChanged()
      } catch (error) {
        problem.value = messageOf(error)
      } finally {
        isBusy.value = false
      }
    },
  }
}
