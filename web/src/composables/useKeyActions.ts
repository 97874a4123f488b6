import { ref } from 'vue'
import { useI18n } from 'vue-i18n'
import { useConfirm } from './useConfirm'
import { useFormat } from './useFormat'
import { useJobs } from './useJobs'
import { useToasts } from './useToasts'
import { startKeyAction, type KeyActionRequest } from '@/api/keys'

/** Starts an action over many keys; what cannot be taken back is asked about first. `true` when it was started. */
export function useKeyActions() {
  const { t } = useI18n()
  const { confirm } = useConfirm()
  const { follow } = useJobs()
  const { fail } = useToasts()
  const { number } = useFormat()
  const isStarting = ref(false)

  async function start(request: KeyActionRequest, count: number): Promise<boolean> {
    const isDeletion = request.action === 'delete'
    const isWide = count > 1 && request.action === 'disable'
    if (isDeletion || isWide) {
      const sure = await confirm({
        title: t(`keys.sure.${request.action}`, { count: number(count) }, count),
        text: t(isDeletion ? 'keys.sure.deleteText' : 'keys.sure.disableText'),
        action: t(`keys.action.${request.action}`),
        danger: true,
      })
      if (!sure) return false
    }
    isStarting.value = true
    try {
      follow(await startKeyAction(request))
      return true
    } catch (error) {
      fail(error)
      return false
    } finally {
      isStarting.value = false
    }
  }
  return { start, isStarting }
}
