import { readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { baseCompile } from '@intlify/message-compiler'
import { describe, expect, it } from 'vitest'
import en from '@/locales/en'
import chinese from '@/locales/zh-CN'

const SOURCES = join(import.meta.dirname, '../src')

function flat(messages: object, prefix = ''): Map<string, string> {
  return new Map(
    Object.entries(messages).flatMap(([name, value]) =>
      typeof value === 'string' ? [[prefix + name, value] as const] : [...flat(value as object, `${prefix}${name}.`)],
    ),
  )
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name)
    return statSync(path).isDirectory() ? filesBelow(path) : [path]
  })
}

/** Everything in quotes that may be a key: `'a.b'`, and `a.` of `` `a.${b}` ``. */
function mentioned(): { whole: Set<string>; begun: Set<string> } {
  const [whole, begun] = [new Set<string>(), new Set<string>()]
  for (const file of filesBelow(SOURCES).filter((path) => /\.(vue|ts)$/.test(path))) {
    const text = readFileSync(file, 'utf8')
    for (const [, key] of text.matchAll(/['"`]([a-z][\w-]*(?:\.[\w-]+)+)['"`]/gi)) whole.add(key ?? '')
    for (const [, key] of text.matchAll(/`([a-z][\w-]*\.(?:[\w-]+\.)*[\w-]*)\$\{/gi)) begun.add(key ?? '')
  }
  return { whole, begun }
}

const languages = { en: flat(en), 'zh-CN': flat(chinese) }

describe('the languages', () => {
  it('have the same strings', () => {
    expect([...languages['zh-CN'].keys()].sort()).toEqual([...languages.en.keys()].sort())
  })

  it('fill in the same values', () => {
    const names = (text = '') => [...new Set([...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name))].sort()
    for (const [key, text] of languages.en) expect(names(languages['zh-CN'].get(key)), key).toEqual(names(text))
  })

  it('have no empty string and none that cannot be read', () => {
    for (const [name, messages] of Object.entries(languages)) {
      for (const [key, text] of messages) {
        expect(text.trim(), `${name} ${key}`).not.toBe('')
        baseCompile(text, { onError: (error) => expect.fail(`${name} ${key}: ${error.message}`) })
      }
    }
  })
})

describe('the sources', () => {
  const { whole, begun } = mentioned()

  it('use every string', () => {
    const isUsed = (key: string) => whole.has(key) || [...begun].some((prefix) => key.startsWith(prefix))
    expect([...languages.en.keys()].filter((key) => !isUsed(key))).toEqual([])
  })

  it('use no string that does not exist', () => {
    const used = new Set<string>()
    for (const file of filesBelow(SOURCES).filter((path) => /\.(vue|ts)$/.test(path))) {
      for (const [, key] of readFileSync(file, 'utf8').matchAll(/\bt\(\s*['"]([\w.-]+)['"]/g)) used.add(key ?? '')
    }
    expect([...used].filter((key) => !languages.en.has(key))).toEqual([])
  })
})
