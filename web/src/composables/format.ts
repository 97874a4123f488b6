/** Numbers and times as people read them; pure, with the locale as an argument. */

/** Formatters are dear to make, and tables need thousands. */
function kept<O, F>(make: new (locale: string, options: O) => F): (locale: string, options: O) => F {
  const formats = new Map<string, F>()
  return (locale, options) => {
    const name = locale + JSON.stringify(options)
    const format = formats.get(name) ?? new make(locale, options)
    formats.set(name, format)
    return format
  }
}
const numbers = kept<Intl.NumberFormatOptions, Intl.NumberFormat>(Intl.NumberFormat)
const distances = kept<Intl.RelativeTimeFormatOptions, Intl.RelativeTimeFormat>(Intl.RelativeTimeFormat)
const times = kept<Intl.DateTimeFormatOptions, Intl.DateTimeFormat>(Intl.DateTimeFormat)

const MS = { second: 1_000, minute: 60_000, hour: 3_600_000, day: 86_400_000 }

export function formatNumber(value: number, locale: string): string {
  return numbers(locale, { maximumFractionDigits: Math.abs(value) < 10 ? 2 : 1 }).format(value)
}

/** `12.3K`; small numbers in full. */
export function formatCompact(value: number, locale: string): string {
  if (Math.abs(value) < 10_000) return formatNumber(value, locale)
  return numbers(locale, { notation: 'compact', maximumFractionDigits: 1 }).format(value)
}

/** A share from 0 to 1, as `99.4%`; it never rounds up to a hundred. */
export function formatPercent(share: number, locale: string): string {
  const digits = share > 0.99 && share < 1 ? 2 : 1
  const shown = share < 1 ? Math.min(share, 0.9999) : share
  return numbers(locale, { style: 'percent', maximumFractionDigits: digits }).format(shown)
}

/** `850ms`, `1.2s`, `3m 5s`, `2h 10m`, `4d 3h`: at most two units. */
export function formatDuration(ms: number, locale: string): string {
  const unit = (value: number, name: string, digits = 0) =>
    numbers(locale, {
      style: 'unit',
      unit: name,
      unitDisplay: 'narrow',
      maximumFractionDigits: digits,
    }).format(value)
  if (ms < 1_000) return unit(Math.max(0, Math.round(ms)), 'millisecond')
  if (ms < 10_000) return unit(ms / MS.second, 'second', 1)
  if (ms < MS.minute) return unit(Math.round(ms / MS.second), 'second')
  const pair = (big: number, bigName: string, small: number, smallName: string) => {
    const whole = Math.floor(ms / big)
    const rest = Math.floor((ms % big) / small)
    return rest ? `${unit(whole, bigName)} ${unit(rest, smallName)}` : unit(whole, bigName)
  }
  if (ms < MS.hour) return pair(MS.minute, 'minute', MS.second, 'second')
  if (ms < MS.day) return pair(MS.hour, 'hour', MS.minute, 'minute')
  return pair(MS.day, 'day', MS.hour, 'hour')
}

/** `3 minutes ago`, `in 2 hours`; `now` within five seconds. */
export function formatRelative(atMs: number, nowMs: number, locale: string): string {
  const format = distances(locale, { numeric: 'auto', style: 'short' })
  const distance = atMs - nowMs
  const size = Math.abs(distance)
  if (size < 5_000) return format.format(0, 'second')
  if (size < MS.minute) return format.format(Math.round(distance / MS.second), 'second')
  if (size < MS.hour) return format.format(Math.round(distance / MS.minute), 'minute')
  if (size < MS.day) return format.format(Math.round(distance / MS.hour), 'hour')
  return format.format(Math.round(distance / MS.day), 'day')
}

/** Date and time in the viewer's zone; the year only when it is another. */
export function formatTime(atMs: number, locale: string, nowMs = Date.now()): string {
  const isThisYear = new Date(atMs).getFullYear() === new Date(nowMs).getFullYear()
  return times(locale, {
    ...(isThisYear ? {} : { year: 'numeric' }),
    month: 'short',
    day: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  }).format(atMs)
}

/** `1.4 MB`, in powers of ten. */
export function formatBytes(bytes: number, locale: string): string {
  const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte']
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3))
  return numbers(locale, {
    style: 'unit',
    unit: units[power],
    unitDisplay: power === 0 ? 'long' : 'short',
    maximumFractionDigits: power === 0 ? 0 : 1,
  }).format(bytes / 1_000 ** power)
}

/** How much more or less than before, as a share; `null` when there is nothing to compare with. */
export function changeOf(now: number | null, before: number | null): number | null {
  if (now === null || before === null || before === 0) return null
  return now / before - 1
}
