import { ref, watchEffect } from 'vue'
import { recall, store } from './storage'

export type Theme = 'system' | 'light' | 'dark'
export const THEMES: readonly Theme[] = ['system', 'light', 'dark']

const theme = ref<Theme>(recall<Theme>('theme', 'system'))
/** Counts changes of what is really shown; charts draw anew then, as a canvas knows no style sheet. */
const paints = ref(0)

const prefersDark = window.matchMedia('(prefers-color-scheme: dark)')
prefersDark.addEventListener('change', () => paints.value++)

watchEffect(() => {
  const root = document.documentElement
  if (theme.value === 'system') delete root.dataset.theme
  else root.dataset.theme = theme.value
  store('theme', theme.value)
  paints.value++
}, { flush: 'sync' })

export function useTheme() {
  return { theme, paints }
}
