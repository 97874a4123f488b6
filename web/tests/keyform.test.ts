import { beforeEach, describe, expect, it, vi } from 'vitest'
import { ApiError } from '@/api/client'
import type { KeyView } from '@/api/keys'

const updateKey = vi.fn()
vi.mock('@/api/keys', () => ({ updateKey: (...given: unknown[]) => updateKey(...given) }))
const { useKeyForm } = await import('@/components/keys/useKeyForm')

const KEY = { id: 7, label: null, project: 'p', tier: null, weight: 2, tags: ['a'], models: { only: [], not: ['x*'] } } as unknown as KeyView
const unchanged = { label: null, project: 'p', tier: null, weight: 2, tags: ['a'], models: { only: [], not: ['x*'] } }

describe('what is said of a key', () => {
  beforeEach(() => void updateKey.mockReset())

  it('is saved again on top of what the save before gave, and of nothing newer', async () => {
    updateKey.mockResolvedValueOnce({ data: KEY, etag: '"2"' }).mockResolvedValueOnce({ data: KEY, etag: '"3"' })
    const { form, save } = useKeyForm(KEY, '"1"')
    await save()
    form.value.label = ' Mine '
    await save()
    expect(updateKey.mock.calls).toEqual([[7, unchanged, '"1"'], [7, { ...unchanged, label: 'Mine' }, '"2"']])
  })

  it('is not on top of another change because a save has failed', async () => {
    updateKey.mockRejectedValueOnce(new ApiError(412, 'changed', ''))
    const { save } = useKeyForm(KEY, '"1"')
    await expect(save()).rejects.toThrow()
    await save().catch(() => {})
    expect(updateKey.mock.lastCall?.[2]).toBe('"1"')
  })
})
