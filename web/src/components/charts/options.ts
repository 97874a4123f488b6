import uPlot, { type Options, type Series } from 'uplot'
import type { Line } from './data'
import { resolveColor, withAlpha } from './palette'

interface Wanted {
  element: HTMLElement
  lines: readonly Line[]
  stack?: boolean
  /** Counts of buckets are bars. */
  bars?: boolean
  height: number
  max?: number
  /** Values are counts: no line of the grid lies between two of them. */
  whole?: boolean
  locale: string
  format: (value: number | null) => string
  onCursor: (at: { index: number; left: number; top: number } | null) => void
}

const DAY_SECONDS = 86_400
const WHOLE_STEPS = Array.from({ length: 12 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)).flat()

/** How one chart is drawn: colours of the theme, times of the locale, values as the page writes them. */
export function chartOptions(wanted: Wanted): Options {
  const { element, lines, stack = false, bars = false, height, max, whole = false } = wanted
  const color = (property: string) => resolveColor(property, element)
  const axis = { stroke: color('--text-3'), font: `11px ${getComputedStyle(element).fontFamily}` }
  const grid = { stroke: color('--border'), width: 1 }
  return {
    width: Math.max(120, element.clientWidth),
    height,
    legend: { show: false },
    padding: [8, 18, 0, 0],
    cursor: { drag: { x: false, y: false }, y: false, points: bars ? { show: false } : { size: 6 } },
    scales: { x: { time: true, range: bars ? roomForBars : undefined }, y: { range: (_, __, top) => [0, max ?? niceTop(top)] } },
    axes: [
      { ...axis, grid: { show: false }, ticks: { show: false }, size: 32, gap: 9, space: 70, values: (_, times) => timeLabels(times, wanted.locale) },
      { ...axis, grid, incrs: whole ? WHOLE_STEPS : undefined, ticks: { show: false }, size: (_, values) => labelWidth(values), space: 38, values: (_, values) => values.map(wanted.format) },
    ],
    series: [{}, ...lines.map((line, index) => bars ? barsOf(line, color(line.color)) : seriesOf(line, color(line.color), stack || (lines.length === 1 && index === 0)))],
    bands: stack && !bars ? lines.slice(1).map((_, index) => ({ series: [index + 2, index + 1] as [number, number] })) : [],
    hooks: {
      setCursor: [
        ({ cursor: { idx, left = -1, top = 0 } }) =>
          wanted.onCursor(idx === null || idx === undefined || left < 0 ? null : { index: idx, left, top }),
      ],
    },
  }
}

function seriesOf(line: Line, color: string, filled: boolean): Series {
  return {
    label: line.name,
    stroke: color,
    width: line.faint ? 1 : 1.6,
    dash: line.faint ? [4, 4] : undefined,
    fill: filled && !line.faint ? withAlpha(color, 0.16) : undefined,
    spanGaps: false,
    points: { show: false, size: 5, fill: color, filter: (chart, index) => lonely(chart.data[index] ?? []) },
  }
}

const BAR = { share: 0.72, mostPx: 26 }

function barsOf(line: Line, color: string): Series {
  return { label: line.name, width: 0, fill: color, points: { show: false }, paths: uPlot.paths.bars?.({ size: [BAR.share, BAR.mostPx], radius: [0.12, 0] }) }
}

/** Half a bucket at both ends, since a bar stands over its point. */
function roomForBars({ data: [times] }: uPlot, from: number, to: number): [number, number] {
  const half = times.length > 1 ? (times[1]! - times[0]!) / 2 : DAY_SECONDS / 2
  return [from - half, to + half]
}

/** Indices of values without a neighbour: a line shows nothing of these. */
export function lonely(values: ArrayLike<number | null | undefined>): number[] {
  const known = Array.from(values, (value) => value !== null && value !== undefined)
  return known.flatMap((isKnown, index) => (isKnown && !known[index - 1] && !known[index + 1] ? [index] : []))
}

/** Room above the highest value, and a scale even where all is zero. */
function niceTop(top: number | null): number {
  return top && top > 0 ? top * 1.12 : 1
}

function labelWidth(values: string[] | null): number {
  const longest = Math.max(0, ...(values ?? []).map((value) => value.length))
  return Math.max(30, 14 + longest * 6.4)
}

/** The hour, or the day where the chart spans several; `format` is one `Intl` for all labels. */
function timeLabels(times: number[], locale: string): string[] {
  const spacing = (times[1] ?? 0) - (times[0] ?? 0)
  const day = new Intl.DateTimeFormat(locale, { month: 'short', day: 'numeric' })
  const clock = new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })
  return times.map((at) => {
    const date = new Date(at * 1_000)
    const isMidnight = date.getHours() === 0 && date.getMinutes() === 0
    return (spacing >= DAY_SECONDS || isMidnight ? day : clock).format(date)
  })
}
