import { useI18n } from 'vue-i18n'
import * as format from './format'

const NOTHING = '–'
type Maybe = number | null | undefined

/** The formatters in the language of the page; what is not known is a dash. */
export function useFormat() {
  const { locale } = useI18n()
  const known = (shape: (value: number, locale: string) => string) => (value: Maybe) =>
    value === null || value === undefined || Number.isNaN(value) ? NOTHING : shape(value, locale.value)
  return {
    number: known(format.formatNumber),
    compact: known(format.formatCompact),
    percent: known(format.formatPercent),
    duration: known(format.formatDuration),
    bytes: known(format.formatBytes),
    time: known((at, language) => format.formatTime(at, language)),
    relative: (at: Maybe, now: number) => known((value, language) => format.formatRelative(value, now, language))(at),
  }
}
