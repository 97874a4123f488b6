import { useI18n } from 'vue-i18n'

/** Tiers of Google's, the free one first: it is used before those that cost. */
export const TIERS = ['free', 'tier1', 'tier2', 'tier3'] as const

/** The API's word for why a key is as it is, as a sentence; a word that is new to us stays as it came. */
export function useReasons() {
  const { t, te } = useI18n()
  return (word: string | null | undefined): string => {
    if (!word) return ''
    const key = `keys.reason.${word}`
    return te(key, 'en') ? t(key) : word
  }
}
