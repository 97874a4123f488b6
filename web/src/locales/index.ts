import { createI18n } from 'vue-i18n'
import { recall, store } from '@/composables/storage'
import en from './en'

export const LOCALES = { en: 'English', 'zh-CN': '简体中文' } as const
export type Locale = keyof typeof LOCALES

/** English is always there, since it stands in while another language is on its way. */
export const i18n = createI18n<false>({
  legacy: false,
  locale: 'en',
  fallbackLocale: 'en',
  missingWarn: false,
  fallbackWarn: false,
  messages: { en },
})

export async function setLocale(locale: Locale) {
  if (locale === 'zh-CN') i18n.global.setLocaleMessage(locale, (await import('./zh-CN')).default)
  ;(i18n.global.locale as unknown as { value: string }).value = locale
  document.documentElement.lang = locale
  store('locale', locale)
}

/** The language chosen before, or the browser's. */
export function restoreLocale(): Promise<void> {
  const browsers = navigator.languages.find((name) => /^(en|zh)/i.test(name)) ?? 'en'
  const fallback: Locale = /^zh/i.test(browsers) ? 'zh-CN' : 'en'
  const wanted = recall<Locale>('locale', fallback)
  return setLocale(wanted in LOCALES ? wanted : fallback)
}
