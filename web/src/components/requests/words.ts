import { useI18n } from 'vue-i18n'

/** The API's word for what came of an attempt or a request, in the viewer's language: within a sentence, and alone. */
export function useOutcomes() {
  const { t, te } = useI18n()
  const word = (name: string) => (te(`requests.outcome.${name}`, 'en') ? t(`requests.outcome.${name}`) : name)
  const alone = (name: string) => {
    const text = word(name)
    return text.charAt(0).toUpperCase() + text.slice(1)
  }
  return { word, alone }
}
