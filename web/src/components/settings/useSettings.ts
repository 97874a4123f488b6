import { computed, onScopeDispose, reactive, ref, shallowRef, watch } from 'vue'
import { conflictsOf, type Conflict, type Draft } from './conflicts'
import { isSame, isSecret } from './values'
import { ApiError } from '@/api/client'
import {
  findSchema,
  listSettings,
  updateSettings,
  validateSettings,
  type Changes,
  type SettingList,
  type SettingSchema,
  type SettingValue,
} from '@/api/settings'
import { onLive } from '@/composables/useEvents'
import { useResource } from '@/composables/useResource'

export interface Row {
  schema: SettingSchema
  setting: SettingValue
}

const VALIDATE_AFTER_MS = 350

/** The settings, what is being changed of them, and what is wrong with that. */
export function useSettings() {
  const schema = useResource(findSchema, { cache: 'settings.schema' })
  const list = shallowRef<SettingList | null>(null)
  const etag = ref<string | null>(null)
  const drafts = reactive<Record<string, Draft>>({})
  const errors = ref<Record<string, string>>({})
  const conflicts = ref<Conflict[]>([])
  const isSaving = ref(false)

  function take(answer: { data: SettingList; etag: string | null }) {
    list.value = answer.data
    etag.value = answer.etag
  }
  const loaded = useResource(async (signal) => {
    const answer = await listSettings(signal)
    take(answer)
    return answer
  })
  onLive('settings', () => void loaded.reload())

  const byName = computed(() => new Map(list.value?.items.map((item) => [item.name, item])))
  const secrets = computed(() => new Set(schema.data.value?.items.filter(({ type }) => isSecret(type)).map(({ name }) => name)))
  const rows = computed<Row[]>(() =>
    (schema.data.value?.items ?? []).flatMap((item) => {
      const setting = byName.value.get(item.name)
      return setting ? [{ schema: item, setting }] : []
    }),
  )
  const changes = computed<Changes>(() => Object.fromEntries(Object.entries(drafts).map(([name, { value }]) => [name, value])))
  const changed = computed(() => Object.keys(drafts))

  function set(name: string, value: unknown) {
    const current = byName.value.get(name)
    if (!current) return
    if (isSame(value, current.value) && value !== null) delete drafts[name]
    else drafts[name] = { value, was: drafts[name]?.was ?? current }
  }
  function discard(name?: string) {
    for (const each of name ? [name] : changed.value) delete drafts[each]
  }

  let asked = new AbortController()
  let timer: ReturnType<typeof setTimeout> | undefined
  watch(changes, (wanted) => {
    clearTimeout(timer)
    asked.abort()
    const names = Object.keys(wanted)
    errors.value = Object.fromEntries(Object.entries(errors.value).filter(([name]) => names.includes(name)))
    if (names.length > 0) timer = setTimeout(() => void validate(wanted), VALIDATE_AFTER_MS)
  })
  onScopeDispose(() => clearTimeout(timer))

  async function validate(wanted: Changes) {
    const own = (asked = new AbortController())
    try {
      await validateSettings(wanted, own.signal)
      errors.value = {}
    } catch (error) {
      if (!own.signal.aborted && error instanceof ApiError && error.status === 422) errors.value = error.fields
    }
  }

  /** Whether it is saved. What others have changed meanwhile is asked about first. */
  async function save(isRetry = false): Promise<boolean> {
    isSaving.value = true
    try {
      conflicts.value = conflictsOf(drafts, byName.value, (name) => secrets.value.has(name))
      if (conflicts.value.length > 0) return false
      take(await updateSettings(changes.value, etag.value))
      discard()
      return true
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      if (error.status === 412 && !isRetry) {
        await loaded.reload()
        return await save(true)
      }
      if (error.status !== 422) throw error
      errors.value = error.fields
      return false
    } finally {
      isSaving.value = false
    }
  }

  /** Decides one conflict: their value stays, or mine goes on top of it. */
  function settle(name: string, keepMine: boolean) {
    const shown = conflicts.value.find((conflict) => conflict.name === name)
    if (!keepMine) discard(name)
    // On top of what was shown: what has come since is another conflict.
    else if (shown && drafts[name]) drafts[name] = { ...drafts[name], was: shown.theirs }
    conflicts.value = conflicts.value.filter((conflict) => conflict.name !== name)
  }

  return {
    groups: computed(() => schema.data.value?.groups ?? []),
    rows,
    drafts,
    errors,
    conflicts,
    changed,
    isSaving,
    error: computed(() => schema.error.value ?? loaded.error.value),
    isReady: computed(() => schema.data.value !== null && list.value !== null),
    reload: () => Promise.all([schema.reload(), loaded.reload()]),
    set,
    discard,
    save,
    settle,
  }
}
