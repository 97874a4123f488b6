import { shallowRef } from 'vue'
import { useI18n } from 'vue-i18n'
import { useRouter } from 'vue-router'
import { startKeyAction, type KeyAction } from '@/api/keys'
import type { AttentionAction, AttentionItem } from '@/api/stats'
import { useConfirm } from '@/composables/useConfirm'
import { useJobs } from '@/composables/useJobs'
import { useToasts } from '@/composables/useToasts'

/** What the buttons beside a notice do: a job over the keys that it is about, or the page where it is mended. */
export function useAttentionActions(reload: () => Promise<void>) {
  const { t } = useI18n()
  const router = useRouter()
  const { fail } = useToasts()
  const { confirm } = useConfirm()
  const { follow } = useJobs()
  const busy = shallowRef<AttentionAction | null>(null)

  const PAGES: Record<string, () => unknown> = {
    open_settings: () => router.push({ path: '/settings' }),
    open_clients: () => router.push({ path: '/clients' }),
    open_models: () => router.push({ path: '/models' }),
    open_system: () => router.push({ path: '/system' }),
    open_requests: () => router.push({ path: '/requests' }),
    open_errors: () => router.push({ path: '/errors' }),
    add_keys: () => router.push({ path: '/keys', query: { add: '1' } }),
  }
  const JOBS: Record<string, KeyAction> = {
    verify: 'verify',
    reset: 'reset',
    enable: 'enable',
    disable: 'disable',
    delete: 'delete',
    set_project: 'update',
    update: 'update',
  }

  async function run(action: AttentionAction, item: AttentionItem) {
    const job = JOBS[action.action]
    if (!job) return PAGES[action.action]?.() ?? openKeys(action)
    const isSure = job !== 'delete' || (await confirm({ title: t('overview.attention.sureDelete'), action: t('common.delete'), danger: true }))
    if (!isSure) return
    busy.value = action
    try {
      const { ids, filter } = action
      const target = ids?.length ? { ids } : { filter: filter ?? {} }
      const changes = job === 'update' ? (action.changes ?? { project: projectOf(item) }) : undefined
      follow(await startKeyAction({ action: job, ...target, ...(changes ? { changes } : {}) }))
      await reload()
    } catch (error) {
      fail(error)
    } finally {
      busy.value = null
    }
  }

  /** Google's own name of the project, or one that tells its keys from others. */
  function projectOf({ evidence, keys }: AttentionItem): string {
    const named = typeof evidence === 'object' ? evidence?.consumer : undefined
    return named?.replace('projects/', '') ?? `shared-${keys?.[0]?.id ?? ''}`
  }

  function openKeys({ filter, ids }: AttentionAction) {
    const query = { ...filter, ...(ids?.length === 1 ? { key: String(ids[0]) } : {}) }
    return router.push({ path: '/keys', query: query as Record<string, string> })
  }

  return { run, busy }
}
