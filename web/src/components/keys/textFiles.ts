/** A file that keys are looked for in. */
export interface TextFile {
  name: string
  size: number
  text: string
}

/** Why a file is not taken: it is none of text, too large for one request, or gone before it was read. */
export interface Refusal {
  name: string
  why: 'binary' | 'large' | 'unreadable'
}

/** The admin API takes 16 MB at once, in which a line break takes two bytes. */
export const MOST_BYTES = 15_000_000
const LOOKED_AT = 65_536
/** A text in an old encoding has some characters that are not understood; a picture has little else. */
const MOST_ODD = 0.1

/** The text of some bytes, or nothing if they are none. Spreadsheets also write UTF-16, with a mark at the beginning. */
export function textOf(bytes: Uint8Array): string | null {
  const mark = `${bytes[0]},${bytes[1]}`
  const encoding = mark === '255,254' ? 'utf-16le' : mark === '254,255' ? 'utf-16be' : 'utf-8'
  const text = new TextDecoder(encoding).decode(bytes)
  const begin = text.slice(0, LOOKED_AT)
  const odd = begin.length - begin.replaceAll('\ufffd', '').length
  return begin.includes('\0') || odd > begin.length * MOST_ODD ? null : text
}

/** Reads files, and tells which of them cannot be taken. */
export async function readFiles(files: Iterable<File>): Promise<{ texts: TextFile[]; refused: Refusal[] }> {
  const texts: TextFile[] = []
  const refused: Refusal[] = []
  for (const file of files) {
    const { name, size } = file
    if (size > MOST_BYTES) {
      refused.push({ name, why: 'large' })
      continue
    }
    const bytes = await file.arrayBuffer().catch(() => null)
    const text = bytes && textOf(new Uint8Array(bytes))
    if (text === null) refused.push({ name, why: bytes ? 'binary' : 'unreadable' })
    else texts.push({ name, size, text })
  }
  return { texts, refused }
}
