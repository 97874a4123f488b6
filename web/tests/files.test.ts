import { describe, expect, it } from 'vitest'
import { readFiles, textOf } from '@/components/keys/textFiles'

const KEY = `AIzaSy${'x'.repeat(33)}`
const utf16 = (text: string) => new Uint8Array([0xff, 0xfe, ...[...text].flatMap((sign) => [sign.charCodeAt(0), 0])])

describe('the text of a file', () => {
  it('is read in UTF-8, and in the UTF-16 of spreadsheets', () => {
    expect(textOf(new TextEncoder().encode(`名称,${KEY}`))).toBe(`名称,${KEY}`)
    expect(textOf(utf16(KEY))).toBe(KEY)
    expect(textOf(new Uint8Array())).toBe('')
  })

  it('is read with some signs of an older encoding, as keys have none of them', () => {
    expect(textOf(new Uint8Array([...new TextEncoder().encode(`${KEY} M`), 0xfc]))).toContain(KEY)
  })

  it('is nothing where a file holds a picture or a table of an office program', () => {
    expect(textOf(new Uint8Array([0x50, 0x4b, 3, 4, 0, 0, 8]))).toBeNull()
    expect(textOf(new Uint8Array(200).fill(0xd8))).toBeNull()
  })
})

describe('files', () => {
  it('are told apart: those that can be taken, and why the others cannot', async () => {
    const gone = Object.assign(new File([], 'gone.txt'), { arrayBuffer: () => Promise.reject(new Error('gone')) })
    const huge = new File([], 'huge.csv')
    Object.defineProperty(huge, 'size', { value: 15_000_001 })
    const { texts, refused } = await readFiles([new File([KEY], 'keys.txt'), new File([new Uint8Array([1, 0, 2])], 'keys.xlsx'), gone, huge])
    expect(texts).toEqual([{ name: 'keys.txt', size: KEY.length, text: KEY }])
    expect(refused).toEqual([
      { name: 'keys.xlsx', why: 'binary' },
      { name: 'gone.txt', why: 'unreadable' },
      { name: 'huge.csv', why: 'large' },
    ])
  })
})
