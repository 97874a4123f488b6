import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { extname, join, resolve } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import type { Plugin } from 'vite'

const TEXTS = new Set(['.html', '.js', '.css', '.svg', '.json', '.txt'])

/** Writes a `.br` and a `.gz` beside each text of the build, where that is smaller. */
export function compress(): Plugin {
  let folder = ''
  return {
    name: 'compress',
    apply: 'build',
    configResolved(config) {
      folder = resolve(config.root, config.build.outDir)
    },
    closeBundle() {
      for (const file of filesBelow(folder)) {
        if (TEXTS.has(extname(file))) compressFile(file)
      }
    },
  }
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name)
    return statSync(path).isDirectory() ? filesBelow(path) : [path]
  })
}

function compressFile(file: string) {
  const plain = readFileSync(file)
  const quality = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: plain.length }
  const forms = { br: brotliCompressSync(plain, { params: quality }), gz: gzipSync(plain, { level: 9 }) }
  for (const [end, form] of Object.entries(forms)) {
    if (form.length < plain.length) writeFileSync(`${file}.${end}`, form)
  }
}
