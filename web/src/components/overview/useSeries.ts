import { computed, type ComputedRef, type MaybeRefOrGetter, type WatchSource } from 'vue'
import { useI18n } from 'vue-i18n'
import { findSeries, type Grouping, type Metric, type Range, type Series } from '@/api/stats'
import { KEY_STATES, type KeyState } from '@/api/types'
import { ended, type Line } from '@/components/charts/data'
import { OTHER, SERIES, STATE_COLORS, STATUS_COLORS } from '@/components/charts/palette'
import { useResource } from '@/composables/useResource'

interface Wanted {
  metric: Metric
  group_by?: Grouping
  /** What the line is called when there is but one. */
  name?: string
  color?: string
}

/** Lines of one chart, each answer of the server with the colours of their names. */
export function useSeries(
  wanted: () => Wanted[],
  bounds: () => Range,
  on: WatchSource[],
  everyMs: MaybeRefOrGetter<number>,
): { lines: ComputedRef<Line[] | null>; reload: () => Promise<void> } {
  const { t } = useI18n()
  const { data, reload } = useResource(
    (signal) => {
      const range = bounds()
      return Promise.all(
        wanted().map(async (one) => ({
          one,
          answer: await findSeries({ metric: one.metric, group_by: one.group_by, ...range }, signal),
        })),
      )
    },
    { on: [wanted, ...on], everyMs },
  )
  const nameOf = (name: string) => (name === 'other' ? t('overview.other') : name)
  const lines = computed(() => {
    if (!data.value) return null
    return data.value.flatMap(({ one, answer }, chart) =>
      ordered(worthShowing(settled(one.metric, answer))).map((series, index) => ({
        name: one.group_by || one.metric === 'keys_by_state' ? nameOf(series.name) : (one.name ?? nameOf(series.name)),
        color: colorOf(one, series.name, chart + index),
        points: series.points,
      })),
    )
  })
  return { lines, reload }
}

const COUNTS: readonly Metric[] = ['requests', 'errors', 'attempts', 'rescued', 'tokens', 'prompt_tokens', 'output_tokens', 'cached_tokens']

const settled = (metric: Metric, { series, step_ms }: Series) =>
  COUNTS.includes(metric) ? ended(series, step_ms, Date.now()) : series

const isState = (name: string): name is KeyState => (KEY_STATES as readonly string[]).includes(name)

/** Among several lines, those that are zero throughout say nothing. */
function worthShowing<T extends { points: [number, number | null][] }>(series: T[]): T[] {
  const some = series.filter(({ points }) => points.some(([, value]) => value))
  return some.length ? some : series.slice(0, 1)
}

/** States of keys in the order in which a key goes through them, so that layers do not jump. */
function ordered<T extends { name: string }>(series: T[]): T[] {
  if (!series.every(({ name }) => isState(name))) return series
  return [...series].sort((a, b) => KEY_STATES.indexOf(a.name as KeyState) - KEY_STATES.indexOf(b.name as KeyState))
}

function colorOf({ color, metric, group_by }: Wanted, name: string, index: number): string {
  if (color) return color
  if (isState(name)) return STATE_COLORS[name]
  if (metric === 'errors' && group_by === 'status') return STATUS_COLORS[name] ?? SERIES[(index + 3) % SERIES.length] ?? OTHER
  return name === 'other' ? OTHER : (SERIES[index % SERIES.length] ?? OTHER)
}
