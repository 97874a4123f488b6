import { ref } from 'vue'

/** Copies a text; `isCopied` says so for two seconds. */
export function useCopy() {
  const isCopied = ref(false)
  async function copy(text: string) {
    await writeText(text)
    isCopied.value = true
    setTimeout(() => (isCopied.value = false), 2_000)
  }
  return { isCopied, copy }
}

/** Without TLS a browser has no clipboard for scripts, only the older command. */
async function writeText(text: string) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text)
  const area = document.createElement('textarea')
  area.value = text
  document.body.append(area)
  area.select()
  document.execCommand('copy')
  area.remove()
}
