import { describe, expect, it } from 'vitest'
import { actionOf, pageOf } from '@/components/overview/attention'
import type { AttentionAction, AttentionItem } from '@/api/stats'

const INVALID = { state: ['invalid', 'disabled'] }
const action = (name: string, fields: Partial<AttentionAction> = {}): AttentionAction => ({ action: name, label_key: '', ...fields })
const item = (fields: Partial<AttentionItem> = {}): AttentionItem => ({ kind: 'keys_invalid', severity: 'warning', message: '', count: 4, ...fields })

describe('what helps with a notice', () => {
  it('is a page with its filter in the address', () => {
    expect(pageOf(action('open_keys', { filter: INVALID }))).toEqual({ path: '/keys', query: { state: 'invalid,disabled' } })
    expect(pageOf(action('open_keys', { ids: [7] }))).toEqual({ path: '/keys', query: { key: '7' } })
    expect(pageOf(action('open_requests', { filter: { status: 'error' } }))).toEqual({ path: '/requests', query: { status: 'error' } })
    expect(pageOf(action('add_keys'))).toEqual({ path: '/keys', query: { add: '1' } })
    expect(pageOf(action('something_new'))).toEqual({ path: '/keys', query: {} })
  })

  it('is an action over the keys that it is about, and tells their number', () => {
    expect(actionOf(action('delete', { filter: INVALID }), item())).toEqual({ request: { action: 'delete', filter: INVALID }, count: 4 })
    expect(actionOf(action('verify', { ids: [1, 2] }), item())).toEqual({ request: { action: 'verify', ids: [1, 2] }, count: 2 })
    expect(actionOf(action('open_keys'), item())).toBeNull()
  })

  it('gives keys of one project the name that Google has for it, or one that tells them from others', () => {
    const shared = action('set_project', { ids: [3, 4] })
    const named = item({ evidence: { consumer: 'projects/12' } })
    expect(actionOf(shared, named)?.request).toEqual({ action: 'update', ids: [3, 4], changes: { project: '12' } })
    const unnamed = item({ evidence: 'together', keys: [{ id: 3, masked: '' }] })
    expect(actionOf(shared, unnamed)?.request.changes).toEqual({ project: 'shared-3' })
  })
})
