import type { KeyState } from '@/api/types'

/** Custom properties of the style sheet, so that themes apply to canvases as well. */
export const SERIES = Array.from({ length: 10 }, (_, index) => `--series-${index + 1}`)
export const OTHER = '--mute'

export const STATE_COLORS: Record<KeyState, string> = {
  active: '--good',
  cooling: '--warn',
  half_open: '--info',
  invalid: '--bad',
  disabled: '--mute',
}

/** The colours of what goes wrong most. */
export const STATUS_COLORS: Record<string, string> = {
  429: '--series-3',
  500: '--series-4',
  502: '--series-7',
  503: '--bad',
  504: '--series-8',
}

/** What a custom property is in the present theme, as a colour that a canvas understands. */
export function resolveColor(property: string, element: HTMLElement): string {
  const probe = document.createElement('span')
  probe.style.color = `var(${property})`
  element.append(probe)
  const color = getComputedStyle(probe).color
  probe.remove()
  return color
}

/** `rgb(…)` with an opacity. */
export function withAlpha(color: string, alpha: number): string {
  const channels = /\(([^)/]+)/.exec(color)?.[1]?.replaceAll(',', ' ').trim().split(/\s+/).slice(0, 3) ?? ['0', '0', '0']
  return color.startsWith('rgb') ? `rgb(${channels.join(' ')} / ${alpha})` : color
}
