import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import help from '@/components/settings/help.zh-CN.json'
import { fits, isSame, parsed, shownValue, spanOf } from '@/components/settings/values'
import { draftOf, emptyDraft, localTime, numberOf, specOf } from '@/components/clients/spec'
import { agentSnippets, apps, sdkSnippets } from '@/components/clients/snippets'
import type { TokenView } from '@/api/tokens'

const WORDS = { on: 'on', off: 'off', blank: 'blank', hidden: 'hidden' }

describe('values of settings', () => {
  it('are the same whatever the order of their fields', () => {
    expect(isSame({ a: 1, b: [1, 2] }, { b: [1, 2], a: 1 })).toBe(true)
    expect(isSame([1, 2], [2, 1])).toBe(false)
    expect(isSame(null, undefined)).toBe(true)
    expect(isSame(0, '')).toBe(false)
  })

  it('read as people write them', () => {
    const shown = [null, true, false, '', [], ['a', 'b'], { a: 1 }, 5].map((value) => shownValue(value, WORDS))
    expect(shown).toEqual(['hidden', 'on', 'off', 'blank', 'blank', 'a, b', '{"a":1}', '5'])
  })

  it('are found by every word of a search', () => {
    const setting = { name: 'MAX_RETRIES' }
    expect(fits(setting, 'Attempts for one request', 'retries attempts')).toBe(true)
    expect(fits(setting, 'Attempts for one request', 'retries seconds')).toBe(false)
    expect(fits(setting, '', '')).toBe(true)
  })

  it('of times know their length', () => {
    expect([spanOf(2, 'h'), spanOf(5, 'MB'), spanOf('', 's')]).toEqual([7_200_000, null, null])
  })

  it('of JSON tell what is wrong with them', () => {
    expect(parsed('[1]')).toEqual({ value: [1] })
    expect(parsed('[1')).toHaveProperty('problem')
  })
})

describe('the help in Chinese', () => {
  const file = readFileSync(join(import.meta.dirname, '../../config/default.toml'), 'utf8')
  const names = [...file.matchAll(/^([a-z][a-z0-9_]*) = /gm)].map(([, name]) => (name ?? '').toUpperCase())
  const groups = [...file.matchAll(/^# --- (.+) ---$/gm)].map(([, title]) => (title ?? '').toLowerCase().replaceAll(' ', '_'))

  it('is there for every setting and group', () => {
    expect(names.filter((name) => !(name in help.settings))).toEqual([])
    expect(groups.filter((group) => !(group in help.groups))).toEqual([])
  })
})

describe('the form of a client token', () => {
  it('gives back what it was made of', () => {
    const spec = specOf({ ...emptyDraft(), name: ' Team ', max_concurrent: 3 })
    spec.rate_limits.tokens_per_day = 5_000
    spec.expires_at_ms = 1_790_000_040_000
    expect(specOf(draftOf(spec as TokenView))).toEqual({ ...spec, name: 'Team' })
  })

  it('takes blank for no limit', () => {
    expect([numberOf(''), numberOf('0'), numberOf(7)]).toEqual([null, 0, 7])
    expect(localTime(new Date(2026, 10, 8, 9, 5).getTime())).toBe('2026-11-08T09:05')
  })
})

describe('snippets', () => {
  const access = { origin: 'https://gateway.example', token: 'sk-test', model: 'gemini-2.5-flash' }
  it('name the gateway and the token', () => {
    for (const { id, code } of [...sdkSnippets(access), ...agentSnippets(access)]) {
      expect(code, id).toContain(access.origin)
      expect(code, id).toContain(access.token)
    }
    expect(apps(access.origin).every(({ baseUrl }) => baseUrl.startsWith(access.origin))).toBe(true)
  })
})
