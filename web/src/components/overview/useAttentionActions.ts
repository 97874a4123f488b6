import { computed, shallowRef } from 'vue'
import { useRouter } from 'vue-router'
import { actionOf, pageOf } from './attention'
import type { AttentionAction, AttentionItem } from '@/api/stats'
import { useKeyActions } from '@/composables/useKeyActions'

/** What the buttons beside a notice do: a job over the keys that it is about, or the page where it is mended. */
export function useAttentionActions() {
  const router = useRouter()
  const { start, isStarting } = useKeyActions()
  const pressed = shallowRef<AttentionAction | null>(null)

  async function run(action: AttentionAction, item: AttentionItem) {
    const job = actionOf(action, item)
    if (!job) return router.push(pageOf(action))
    pressed.value = action
    await start(job.request, job.count)
  }
  return { run, busy: computed(() => (isStarting.value ? pressed.value : null)) }
}
