import type { LogFilter, RequestRow } from '@/api/requests'

/** The filters that live in the address, by the names they have there; all are texts. */
export const FILTERS = [
  'q',
  'status',
  'model',
  'dialect',
  'token_id',
  'key_id',
  'endpoint',
  'client_ip',
  'stream',
  'retried',
  'empty',
  'min_duration_ms',
  'max_duration_ms',
] as const
export type FilterName = (typeof FILTERS)[number]
export type Filters = Record<FilterName, string>

const FLAGS = new Set<FilterName>(['stream', 'retried', 'empty'])
const NUMBERS = new Set<FilterName>(['min_duration_ms', 'max_duration_ms'])

/** What the server is asked for. */
export function queryOf(filters: Partial<Filters>): LogFilter {
  const set = FILTERS.filter((name) => filters[name]).map((name) => [name, valueOf(name, filters[name] as string)])
  return Object.fromEntries(set.filter(([, value]) => value !== undefined)) as LogFilter
}

function valueOf(name: FilterName, text: string): string | number | boolean | undefined {
  if (FLAGS.has(name)) return text === 'true'
  if (!NUMBERS.has(name)) return text
  const number = Number(text)
  return Number.isFinite(number) && number >= 0 ? number : undefined
}

/**
 * Whether a request that was just finished belongs to what is shown, by the rules of the server; `undefined` where the
 * log alone can tell.
 */
export function matches(row: RequestRow, filter: LogFilter): boolean | undefined {
  return hasFields(row, filter) && (filter.empty === undefined || hadEmpty(row, filter.empty))
}

function hasFields(row: RequestRow, filter: LogFilter): boolean {
  return (
    same(filter.model, row.model) &&
    same(filter.dialect, row.dialect) &&
    same(filter.endpoint, row.endpoint) &&
    same(filter.token_id, row.token?.id) &&
    same(filter.key_id, row.key ? String(row.key.id) : undefined) &&
    same(filter.client_ip, row.client_ip ?? undefined) &&
    same(filter.stream, row.stream) &&
    same(filter.retried, row.attempt_count > 1) &&
    row.duration_ms >= (filter.min_duration_ms ?? 0) &&
    row.duration_ms <= (filter.max_duration_ms ?? Infinity) &&
    hasStatus(row, filter.status) &&
    hasWord(row, filter.q)
  )
}

/** A row does not have its attempts, and a request that one of them left empty may have ended well. */
function hadEmpty(row: RequestRow, wanted: boolean): boolean | undefined {
  if (row.error === 'empty') return wanted
  return row.attempt_count === 0 ? !wanted : undefined
}

/** So much of an id makes it one; shorter words are errors. */
const ID = /^[0-9a-f]{6,}$/

function hasWord(row: RequestRow, word = ''): boolean {
  const id = word.trim().replaceAll('-', '').toLowerCase()
  if (!id) return true
  return ID.test(id) ? row.id.startsWith(id) : row.error === word.trim()
}

const same = <T>(wanted: T | undefined, found: T | undefined) => wanted === undefined || wanted === found

function hasStatus(row: RequestRow, wanted: string | undefined): boolean {
  if (!wanted) return true
  return wanted.split(',').some((word) => {
    // A stream that was cut had begun with 200.
    const isGood = row.status < 400 && row.error === null
    if (word === 'ok') return isGood
    if (word === 'error') return !isGood
    return word === String(row.status) || word === `${Math.floor(row.status / 100)}xx`
  })
}

/** Newer rows in front of those that are shown, each once, at most `most` of them. */
export function prepended(fresh: readonly RequestRow[], shown: readonly RequestRow[], most: number): RequestRow[] {
  const known = new Set(shown.map(({ id }) => id))
  const news = fresh.filter(({ id }) => !known.has(id)).sort((a, b) => b.started_at_ms - a.started_at_ms)
  return [...news, ...shown].slice(0, most)
}
