import type { KeyAction, KeyActionRequest } from '@/api/keys'
import type { AttentionAction, AttentionItem } from '@/api/stats'

const PAGES: Record<string, string> = {
  open_settings: '/settings',
  open_clients: '/clients',
  open_models: '/models',
  open_system: '/system',
  open_requests: '/requests',
  open_errors: '/errors',
}
const ACTIONS: Record<string, KeyAction> = {
  verify: 'verify',
  reset: 'reset',
  enable: 'enable',
  disable: 'disable',
  delete: 'delete',
  set_project: 'update',
  update: 'update',
}

/** What the button starts, and over how many keys; `null` when it opens a page. Keys that nobody names are never all keys. */
export function actionOf({ action, ids, filter, changes }: AttentionAction, item: AttentionItem): { request: KeyActionRequest; count: number } | null {
  const name = ACTIONS[action]
  const target = ids?.length ? { ids } : filter ? { filter } : null
  if (!name || !target) return null
  const made = name === 'update' ? { changes: changes ?? { project: projectOf(item) } } : {}
  return { request: { action: name, ...target, ...made }, count: ids?.length || item.count }
}

/** Google's own name of the project, or one that tells its keys from others. */
function projectOf({ evidence, keys }: AttentionItem): string {
  const named = typeof evidence === 'object' ? evidence?.consumer : undefined
  return named?.replace('projects/', '') ?? `shared-${keys?.[0]?.id ?? ''}`
}

/** The page where it is mended; of an action that is not known here, the keys. */
export function pageOf({ action, filter, ids }: AttentionAction): { path: string; query: Record<string, string> } {
  const shown = Object.entries(filter ?? {}).map(([name, value]) => [name, String(value)] as const)
  return {
    path: PAGES[action] ?? '/keys',
    query: {
      ...Object.fromEntries(shown),
      ...(ids?.length === 1 ? { key: String(ids[0]) } : {}),
      ...(action === 'add_keys' ? { add: '1' } : {}),
    },
  }
}
