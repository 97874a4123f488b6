import type { RequestDetail } from '@/api/requests'
import type { Attempt, Census } from '@/api/trail'

/** One sentence for how a request ended: its string in the locales, and what is filled in. */
export interface Verdict {
  key: string
  tone: 'good' | 'warn' | 'bad'
  values: Record<string, string | number>
}

/** What decides: an answer at once, an answer after others failed, or what stood in the way at the end. */
export function verdictOf(request: RequestDetail): Verdict {
  const { attempts, no_keys: noKeys, status } = request
  const last = attempts.at(-1)
  const tried = attempts.length
  const values = { tried, status, outcome: last?.outcome ?? '', error: request.error ?? '' }
  const verdict = (key: string, tone: Verdict['tone']): Verdict => ({ key: `requests.verdict.${key}`, tone, values })

  if (status < 400 && request.error) return verdict('cut', 'warn')
  if (status < 400) return tried > 1 ? verdict('rescued', 'warn') : verdict('served', 'good')
  if (status === 499) return verdict('hungUp', 'warn')
  const want = noKeys.at(-1)
  if (want && (tried === 0 || want.cause !== 'attempts')) return verdict(`noKey.${want.cause}`, 'bad')
  if (want) return verdict('allTried', 'bad')
  if (last?.outcome === 'client_fault') return verdict('client', 'bad')
  if (last) return verdict('failed', 'bad')
  return verdict(isLimit(request.error) ? 'limited' : 'refused', 'bad')
}

/** The words for a client token that has had what it may. */
const isLimit = (error: string | null) => error !== null && /limit|quota/.test(error)

/** What kept other keys from being chosen, largest first, without what is zero. */
export function keptOf(census: Census): { name: keyof Census; count: number }[] {
  const names = ['spent', 'cooling', 'open', 'half_open', 'denied', 'out', 'tried'] as const
  return names.map((name) => ({ name, count: census[name] ?? 0 })).filter(({ count }) => count > 0)
}

export interface Bar {
  /** Of the whole request, in percent. */
  start: number
  width: number
}

/** Where the attempts lie within the request's time. Hedges begin with the one before them; the rest follow each other. */
export function timeline(attempts: readonly Attempt[], durationMs: number): Bar[] {
  let end = 0
  let before = 0
  const spans = attempts.map((attempt) => {
    const start = attempt.extra === 'hedge' ? before : end + (attempt.waited_ms ?? 0)
    before = start
    end = Math.max(end, start + attempt.duration_ms)
    return { start, length: attempt.duration_ms }
  })
  const whole = Math.max(durationMs, end, 1)
  return spans.map(({ start, length }) => ({ start: (start / whole) * 100, width: Math.max(0.6, (length / whole) * 100) }))
}

export function outcomeTone(outcome: string): 'good' | 'warn' | 'bad' | 'neutral' {
  if (outcome === 'success') return 'good'
  if (outcome === 'abandoned') return 'neutral'
  return outcome.startsWith('quota') || outcome === 'overloaded' ? 'warn' : 'bad'
}

export function statusTone(status: number | null): 'good' | 'warn' | 'bad' | 'neutral' {
  if (status === null || status === 0) return 'neutral'
  if (status < 400) return 'good'
  return status < 500 && status !== 429 ? 'warn' : 'bad'
}
