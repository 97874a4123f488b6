import type { LocaleMessages, VueMessageType } from 'vue-i18n'

/** One file for each area; its name is the first part of the keys. */
const files = import.meta.glob<LocaleMessages<VueMessageType>>('./en/*.json', { eager: true, import: 'default' })

const nameOf = (path: string) => path.slice(path.lastIndexOf('/') + 1, -'.json'.length)

export default Object.fromEntries(Object.entries(files).map(([path, messages]) => [nameOf(path), messages]))
