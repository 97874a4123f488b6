import { computed, onScopeDispose, ref, shallowRef, watch } from 'vue'
import type { TextFile } from './textFiles'
import { createKeys, type ImportReport, type NewKeys } from '@/api/keys'
import { newAttempt } from '@/composables/attempt'
import { useTask } from '@/composables/useTask'
import { messageOf } from '@/composables/useToasts'

const PAUSE_MS = 350

/** Keys out of any text, typed or from files: what is in it, before anything is done, and adding them. */
export function useKeyText(options: () => Omit<NewKeys, 'keys' | 'dry_run'> = () => ({})) {
  const text = ref('')
  const files = shallowRef<readonly TextFile[]>([])
  const preview = shallowRef<ImportReport | null>(null)
  const { isBusy, problem, run } = useTask()
  const keys = computed(() => [text.value, ...files.value.map((file) => file.text)].filter((part) => part.trim()).join('\n'))

  /** A second click after a lost answer adds nothing twice, and is told what the first one did. */
  let attempt = newAttempt()
  watch([keys, options], () => (attempt = newAttempt()))

  let timer: ReturnType<typeof setTimeout> | undefined
  let round = 0
  watch(keys, (wanted) => {
    clearTimeout(timer)
    preview.value = null
    problem.value = ''
    const own = ++round
    if (wanted) timer = setTimeout(() => void look(own), PAUSE_MS)
  })
  onScopeDispose(() => clearTimeout(timer))

  async function look(own: number) {
    try {
      const report = await createKeys({ ...options(), keys: keys.value, dry_run: true })
      if (own === round) preview.value = report
    } catch (error) {
      if (own === round) problem.value = messageOf(error)
    }
  }

  function clear() {
    text.value = ''
    files.value = []
    attempt = newAttempt()
  }

  async function add(): Promise<ImportReport> {
    const report = await createKeys({ ...options(), keys: keys.value }, attempt)
    clear()
    return report
  }

  return { text, files, preview, problem, isBusy, run, add, clear }
}
