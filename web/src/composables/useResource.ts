import { onScopeDispose, ref, shallowRef, toValue, watch, type MaybeRefOrGetter, type Ref, type ShallowRef, type WatchSource } from 'vue'

export interface Resource<T> {
  /** The newest answer; it stays while another is on its way, and when that fails. */
  data: ShallowRef<T | null>
  error: ShallowRef<unknown>
  /** An answer is awaited. */
  isBusy: Ref<boolean>
  reload: () => Promise<void>
}

export interface ResourceOptions {
  /** Loads anew when any of these changes. */
  on?: WatchSource | WatchSource[]
  /** Loads anew so often, while the page is looked at. */
  everyMs?: MaybeRefOrGetter<number>
  /** What the page showed last time under this name is shown at once on the next visit. */
  cache?: string
  /** Nothing is loaded while this is false. */
  when?: () => boolean
}

const seen = new Map<string, unknown>()

/** Data of the server with its state. Later answers win: an older request is aborted by a newer one. */
export function useResource<T>(load: (signal: AbortSignal) => Promise<T>, options: ResourceOptions = {}): Resource<T> {
  const { cache, when = () => true } = options
  const data = shallowRef<T | null>((cache ? (seen.get(cache) as T) : null) ?? null)
  const error = shallowRef<unknown>(null)
  const isBusy = ref(false)
  let current = new AbortController()

  async function reload() {
    if (!when()) return
    current.abort()
    const own = (current = new AbortController())
    isBusy.value = true
    try {
      const answer = await load(own.signal)
      if (own.signal.aborted) return
      data.value = answer
      error.value = null
      if (cache) seen.set(cache, answer)
    } catch (cause) {
      if (!own.signal.aborted) error.value = cause
    } finally {
      if (current === own) isBusy.value = false
    }
  }

  watch([...[options.on ?? []].flat(), when], reload, { immediate: true })
  watch(
    () => toValue(options.everyMs),
    (everyMs, _, onCleanup) => {
      if (!everyMs) return
      const timer = setInterval(() => document.hidden || reload(), everyMs)
      onCleanup(() => clearInterval(timer))
    },
    { immediate: true },
  )
  onScopeDispose(() => current.abort())
  return { data, error, isBusy, reload }
}
