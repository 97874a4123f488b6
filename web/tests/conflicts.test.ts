import { beforeEach, describe, expect, it, vi } from 'vitest'
import { effectScope } from 'vue'
import { ApiError } from '@/api/client'
import type { SettingList, SettingValue } from '@/api/settings'
import { conflictsOf } from '@/components/settings/conflicts'

const setting = (name: string, fields: Partial<SettingValue> = {}): SettingValue => ({
  name, value: null, is_set: true, default: null, origin: 'dashboard', changed_at_ms: 1_000, restart_pending: false, ...fields,
})
const isSecret = (name: string) => name === 'API_KEYS'
const found = (was: SettingValue, now: SettingValue, value: unknown) =>
  conflictsOf({ [was.name]: { value, was } }, new Map([[now.name, now]]), isSecret)

describe('a change of somebody else', () => {
  it('is a conflict where it says something else than mine', () => {
    const was = setting('MAX_RETRIES', { value: 3 })
    const now = { ...was, value: 4 }
    expect(found(was, now, 6)).toEqual([{ name: 'MAX_RETRIES', theirs: now, mine: 6, isSecret: false }])
    expect(found(was, { ...was, value: 6 }, 6)).toEqual([])
    expect(found(was, { ...was, changed_at_ms: 9_000 }, 6)).toEqual([])
  })

  it('of a secret shows by its time or place, as nobody is told the value', () => {
    const was = setting('API_KEYS')
    const saved = { ...was, changed_at_ms: 9_000 }
    const reset = setting('API_KEYS', { origin: 'environment', changed_at_ms: null })
    for (const [now, mine] of [[saved, ['mine']], [saved, null], [reset, ['mine']]] as const) {
      expect(found(was, now, mine)).toEqual([{ name: 'API_KEYS', theirs: now, mine, isSecret: true }])
    }
    expect(found(was, { ...was }, ['mine'])).toEqual([])
  })
})

const server = { list: [] as SettingValue[], version: 1, hear: () => {} }
const listed = () => ({ data: { version: server.version, items: server.list } as SettingList, etag: `"${server.version}"` })
const updateSettings = vi.fn()
vi.mock('@/composables/useEvents', () => ({ onLive: (_: string, hear: () => void) => (server.hear = hear) }))
vi.mock('@/api/settings', () => ({
  findSchema: async () => ({ groups: [], items: [{ name: 'API_KEYS', group: '', type: 'secret_list', help: '', applies: 'live' }] }),
  listSettings: async () => listed(),
  updateSettings: (...given: unknown[]) => updateSettings(...given),
  validateSettings: async () => ({ ok: true }),
}))
const { useSettings } = await import('@/components/settings/useSettings')

describe('two who replace the same secret', () => {
  const saves = (at: number) => {
    server.list = [setting('API_KEYS', { changed_at_ms: at })]
    server.version++
  }
  beforeEach(() => {
    saves(1_000)
    updateSettings.mockReset().mockImplementation(async (_: unknown, etag: string) => {
      if (etag !== `"${server.version}"`) throw new ApiError(412, 'changed', '')
      return listed()
    })
  })
  async function begin() {
    const settings = effectScope().run(() => useSettings())!
    await vi.waitUntil(() => settings.isReady.value)
    settings.set('API_KEYS', ['m'])
    return settings
  }

  it.each(['hears of it', 'does not hear of it'])('are told of each other when the later one %s', async (how) => {
    const settings = await begin()
    saves(2_000)
    if (how === 'hears of it') {
      server.hear()
      await vi.waitUntil(() => settings.rows.value[0]?.setting.changed_at_ms === 2_000)
    }
    settings.set('API_KEYS', ['mine'])
    expect(await settings.save()).toBe(false)
    expect(settings.conflicts.value.map(({ name }) => name)).toEqual(['API_KEYS'])

    saves(3_000)
    settings.settle('API_KEYS', true)
    expect(await settings.save()).toBe(false)
    settings.settle('API_KEYS', true)
    expect(await settings.save()).toBe(true)
    expect(updateSettings).toHaveBeenLastCalledWith({ API_KEYS: ['mine'] }, `"${server.version}"`)
  })
})
