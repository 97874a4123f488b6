import { onScopeDispose } from 'vue'
import { useRouter } from 'vue-router'
import { NAV } from '@/router/pages'

/** How long after `g` the next key still means a page. */
const SEQUENCE_MS = 1_500

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
}

/** Keys that work on every page: `/` to the field marked `data-search`, `?` for help, `g` and a letter for a page. */
export function useShortcuts(openHelp: () => void) {
  const router = useRouter()
  let leaderAt = -Infinity

  function onKey(event: KeyboardEvent) {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return
    if (document.querySelector('[role="dialog"]')) return
    const page = event.timeStamp - leaderAt < SEQUENCE_MS ? NAV.find(({ key }) => key === event.key) : undefined
    leaderAt = event.key === 'g' ? event.timeStamp : -Infinity
    if (page) void router.push({ name: page.name })
    else if (event.key === '?') openHelp()
    else if (event.key === '/') document.querySelector<HTMLInputElement>('[data-search] input, input[data-search]')?.focus()
    else return
    event.preventDefault()
  }

  document.addEventListener('keydown', onKey)
  onScopeDispose(() => document.removeEventListener('keydown', onKey))
}
