import type { SettingSchema, SettingType } from '@/api/settings'

/** Whether two values of a setting are the same, whatever the order of their fields. */
export function isSame(one: unknown, other: unknown): boolean {
  return canonical(one) === canonical(other)
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    part !== null && typeof part === 'object' && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  ) ?? 'null'
}

export const isSecret = (type: SettingType) => type.startsWith('secret')

/** A value in one line, for people. */
export function shownValue(value: unknown, words: { on: string; off: string; blank: string; hidden: string }): string {
  if (value === null || value === undefined) return words.hidden
  if (typeof value === 'boolean') return value ? words.on : words.off
  if (value === '' || (Array.isArray(value) && value.length === 0)) return words.blank
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value.join(', ')
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

/** Whether a setting has every word of a search in its name or help. */
export function fits(item: Pick<SettingSchema, 'name'>, help: string, search: string): boolean {
  const text = `${item.name} ${item.name.replaceAll('_', ' ')} ${help}`.toLowerCase()
  return search.toLowerCase().split(/\s+/).every((word) => text.includes(word))
}

const UNIT_MS: Record<string, number> = { ms: 1, s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 }

/** A number of a unit of time in milliseconds; `null` where it counts something else. */
export function spanOf(value: unknown, unit: string | null | undefined): number | null {
  const factor = unit ? UNIT_MS[unit] : undefined
  return factor !== undefined && typeof value === 'number' && Number.isFinite(value) ? value * factor : null
}

/** The value that a text field holds; `undefined` where it is no JSON yet. */
export function parsed(text: string): { value: unknown } | { problem: string } {
  try {
    return { value: JSON.parse(text) as unknown }
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) }
  }
}

/** An editor that knows more of a setting than its type tells. */
export type EditorKind = SettingType | 'safety' | 'budgets'

export function editorOf(schema: SettingSchema): EditorKind {
  if (schema.name === 'SAFETY_SETTINGS') return 'safety'
  if (schema.name === 'THINKING_BUDGET_MAP') return 'budgets'
  return schema.type
}
