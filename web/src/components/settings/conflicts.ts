import { isSame } from './values'
import type { SettingValue } from '@/api/settings'

/** A change that is not saved yet; `value` is `null` where the setting goes back to what it was before the dashboard. */
export interface Draft {
  value: unknown
  /** What the server said when it was begun. */
  was: SettingValue
}

/** Somebody else was first. */
export interface Conflict {
  name: string
  theirs: SettingValue
  mine: unknown
  isSecret: boolean
}

/** What of the drafts was begun from settings that have changed since, unless to the same. */
export function conflictsOf(
  drafts: Readonly<Record<string, Draft>>,
  settings: ReadonlyMap<string, SettingValue>,
  isSecret: (name: string) => boolean,
): Conflict[] {
  return Object.entries(drafts).flatMap(([name, { value, was }]) => {
    const now = settings.get(name)
    if (!now) return []
    const secret = isSecret(name)
    const isFree = secret ? isSameChange(was, now) : isSame(now.value, was.value) || isSame(now.value, value)
    return isFree ? [] : [{ name, theirs: now, mine: value, isSecret: secret }]
  })
}

/** Of a secret nobody is told the value, but where and when it was set. */
function isSameChange(one: SettingValue, other: SettingValue): boolean {
  return one.origin === other.origin && one.changed_at_ms === other.changed_at_ms
}
