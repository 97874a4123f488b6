import { ref, watch, type Ref } from 'vue'

/** A copy of a text that follows when typing pauses, and that can be set from outside as well. */
export function useDebounced(source: Ref<string>, delayMs = 250): Ref<string> {
  const typed = ref(source.value)
  let timer: ReturnType<typeof setTimeout> | undefined
  watch(typed, (value) => {
    clearTimeout(timer)
    timer = setTimeout(() => (source.value = value), delayMs)
  })
  watch(source, (value) => (typed.value = value))
  return typed
}
