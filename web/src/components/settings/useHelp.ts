import { ref, watch } from 'vue'
import { useI18n } from 'vue-i18n'
import type { SettingSchema } from '@/api/settings'

interface Words {
  groups: Record<string, string>
  settings: Record<string, string>
}

/** What settings are for, in the language of the page. The server tells it in English; other languages are kept here. */
export function useHelp() {
  const { locale } = useI18n()
  const words = ref<Words | null>(null)
  watch(
    locale,
    async (language) => {
      words.value = language === 'zh-CN' ? (await import('./help.zh-CN.json')).default : null
    },
    { immediate: true },
  )
  return {
    helpOf: ({ name, help }: SettingSchema) => words.value?.settings[name] ?? help,
    titleOf: ({ id, title }: { id: string; title: string }) => words.value?.groups[id] ?? title,
  }
}
