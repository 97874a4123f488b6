import type { AlignedData } from 'uplot'

export interface Line {
  name: string
  /** A custom property, as `--series-1`. */
  color: string
  points: readonly (readonly [number, number | null])[]
  /** Dashed, without a fill: what to compare with. */
  faint?: boolean
}

/** Columns for the chart: times in seconds, then one column for each line, all as long as the times. */
export function columnsOf(lines: readonly Line[]): AlignedData {
  const times = [...new Set(lines.flatMap((line) => line.points.map(([at]) => at)))].sort((a, b) => a - b)
  const columns = lines.map((line) => {
    const values = new Map(line.points)
    return times.map((at) => values.get(at) ?? null)
  })
  return [times.map((at) => at / 1_000), ...columns] as AlignedData
}

/** Each line on top of those before it; nothing counts as zero, but where nothing at all is known there is a gap. */
export function stacked(data: AlignedData): AlignedData {
  const [times, ...columns] = data
  const known = Array.from(times, (_, index) => columns.some((column) => column[index] != null))
  const sums = times.map(() => 0)
  const layers = columns.map((column) =>
    Array.from(column, (value, index) => {
      const sum = (sums[index] ?? 0) + (value ?? 0)
      sums[index] = sum
      return known[index] ? sum : null
    }),
  )
  return [times, ...layers] as AlignedData
}

/** Columns of layers in the order in which bars are painted: the highest first, so that those below cover it. */
export function paintedFirst([times, ...columns]: AlignedData): AlignedData {
  return [times, ...columns.reverse()] as AlignedData
}

export interface Summary {
  name: string
  latest: number
  low: number
  high: number
}

/** What a chart says in words: each line with its last value and between which it lay, and over which time. */
export function summaryOf(lines: readonly Line[]): { fromMs: number; toMs: number; lines: Summary[] } | null {
  const told = lines.flatMap(({ name, points }) => {
    const values = points.map(([, value]) => value).filter((value) => value !== null)
    const latest = values.at(-1)
    return latest === undefined ? [] : [{ name, latest, low: Math.min(...values), high: Math.max(...values) }]
  })
  const times = lines.flatMap(({ points }) => points.map(([at]) => at))
  if (told.length === 0) return null
  return { fromMs: Math.min(...times), toMs: Math.max(...times), lines: told }
}

/** Points of buckets with a zero wherever the range has a bucket of which nothing came; where nothing came at all, none. */
export function filled(points: Points, stepMs: number, fromMs: number, toMs: number): Points {
  const [first] = points
  if (!first) return []
  const isNear = (one: number, other: number) => Math.abs(one - other) < stepMs / 2
  const zeros: [number, number][] = []
  const begin = first[0] - Math.floor((first[0] - fromMs) / stepMs) * stepMs
  for (let at = begin; at <= toMs; at += stepMs) if (!points.some(([known]) => isNear(known, at))) zeros.push([at, 0])
  return [...points, ...zeros].sort(([one], [other]) => one - other)
}

/** Buckets this short are shown when they have ended, since half of one looks like a fall. */
const SHORT_BUCKET_MS = 60_000
type Points = readonly (readonly [number, number | null])[]

/** Counts without the bucket that is still filling, unless only there is something. */
export function ended<T extends { points: Points }>(series: readonly T[], stepMs: number, nowMs: number): T[] {
  const isFilling = (at: number) => at + stepMs > nowMs
  const has = (filling: boolean) => series.some(({ points }) => points.some(([at, value]) => value && isFilling(at) === filling))
  if (stepMs > SHORT_BUCKET_MS || (has(true) && !has(false))) return [...series]
  return series.map((one) => ({ ...one, points: one.points.filter(([at]) => !isFilling(at)) }))
}
