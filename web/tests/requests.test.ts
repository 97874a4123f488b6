import { describe, expect, it } from 'vitest'
import type { RequestDetail, RequestRow } from '@/api/requests'
import type { Attempt } from '@/api/trail'
import { matches, prepended, queryOf } from '@/components/requests/filter'
import { keptOf, timeline, verdictOf } from '@/components/requests/verdict'

const row = (id: string, fields: Partial<RequestRow> = {}): RequestRow => ({
  id,
  started_at_ms: 1_000,
  duration_ms: 500,
  first_byte_ms: 200,
  dialect: 'openai',
  endpoint: 'chat/completions',
  model: 'gemini-2.5-flash',
  stream: true,
  status: 200,
  error: null,
  key: { id: 7, masked: 'AIza…7' },
  token: { id: 'allowed-1', name: 'allowed-1' },
  client_ip: '127.0.0.1',
  node: null,
  prompt_tokens: 1,
  cached_tokens: 0,
  output_tokens: 1,
  thoughts_tokens: 0,
  attempt_count: 1,
  ...fields,
})
const attempt = (outcome: string, fields: Partial<Attempt> = {}): Attempt => ({ key_id: 1, masked: null, outcome, duration_ms: 100, ...fields })
const detail = (fields: Partial<RequestDetail>): RequestDetail => ({ ...row('a'), attempts: [], no_keys: [], ...fields })

describe('filters', () => {
  it('go to the server in its own types', () => {
    expect(queryOf({ stream: 'true', retried: 'false', min_duration_ms: '250', max_duration_ms: 'x', model: '', q: 'busy' })).toEqual({
      q: 'busy',
      stream: true,
      retried: false,
      min_duration_ms: 250,
    })
  })

  it('apply to what comes in live as well', () => {
    const failed = row('b', { status: 429, error: 'all_cooling', attempt_count: 3, key: null })
    for (const filter of [{ status: 'error' }, { status: '4xx' }, { status: '200,429' }, { retried: true }, { q: 'all_cooling' }]) {
      expect(matches(failed, filter), JSON.stringify(filter)).toBe(true)
    }
    for (const filter of [{ status: 'ok' }, { retried: false }, { key_id: '7' }, { model: 'other' }, { min_duration_ms: 501 }]) {
      expect(matches(failed, filter), JSON.stringify(filter)).toBe(false)
    }
  })

  it('take an answer that was cut for a failure, whatever status it had begun with', () => {
    const cut = row('b', { status: 200, error: 'transport' })
    const found = ['ok', 'error', '2xx', '200', '5xx', 'ok,error'].filter((status) => matches(cut, { status }))
    expect(found).toEqual(['error', '2xx', '200', 'ok,error'])
  })

  it('take a word for the begin of an id where it looks like one, and for an error otherwise', () => {
    const failed = row('0192f00dbad1', { status: 503, error: 'bad' })
    const found = ['0192F0', '0192f00d-bad1', ' bad ', '0192', '92f00d', 'ba'].filter((q) => matches(failed, { q }))
    expect(found).toEqual(['0192F0', '0192f00d-bad1', ' bad '])
  })

  it('leave open whether an attempt was empty where the row does not tell', () => {
    const told = (fields: Partial<RequestRow>) => [matches(row('b', fields), { empty: true }), matches(row('b', fields), { empty: false })]
    expect(told({ status: 502, error: 'empty' })).toEqual([true, false])
    expect(told({ status: 429, error: 'token_limit', attempt_count: 0 })).toEqual([false, true])
    // An answer that stayed empty, and one that came after an empty one, are told as good.
    expect(told({})).toEqual([undefined, undefined])
    expect(told({ attempt_count: 2 })).toEqual([undefined, undefined])
    expect(matches(row('b', { model: 'other' }), { empty: true, model: 'm' })).toBe(false)
  })

  it('show each request once, newest first, and no more than can be looked at', () => {
    const shown = [row('b', { started_at_ms: 2 }), row('a', { started_at_ms: 1 })]
    const rows = prepended([row('c', { started_at_ms: 3 }), row('b'), row('d', { started_at_ms: 4 })], shown, 3)
    expect(rows.map(({ id }) => id)).toEqual(['d', 'c', 'b'])
  })
})

describe('the verdict', () => {
  it.each<[string, Partial<RequestDetail>]>([
    ['served', { attempts: [attempt('success')] }],
    ['rescued', { attempts: [attempt('quota_minute'), attempt('success')] }],
    ['cut', { error: 'transport', attempts: [attempt('success')] }],
    ['noKey.quota', { status: 429, no_keys: [{ cause: 'quota' }] }],
    ['allTried', { status: 503, attempts: [attempt('overloaded')], no_keys: [{ cause: 'attempts' }] }],
    ['client', { status: 400, attempts: [attempt('client_fault')] }],
    ['failed', { status: 500, attempts: [attempt('server_fault')] }],
    ['limited', { status: 429, error: 'token_limit' }],
    ['refused', { status: 404, error: 'unknown_path' }],
  ])('%s', (name, fields) => expect(verdictOf(detail(fields)).key).toBe(`requests.verdict.${name}`))
})

describe('the trail', () => {
  it('tells what kept other keys, without what is zero', () => {
    expect(keptOf({ keys: 9, ready: 4, spent: 3, out: 2, tried: 0 })).toEqual([{ name: 'spent', count: 3 }, { name: 'out', count: 2 }])
  })

  it('puts attempts behind each other and a hedge beside its own', () => {
    const bars = timeline([attempt('timed_out'), attempt('success', { extra: 'hedge', duration_ms: 50 }), attempt('success', { waited_ms: 100 })], 400)
    expect(bars).toEqual([{ start: 0, width: 25 }, { start: 0, width: 12.5 }, { start: 50, width: 25 }])
  })
})
