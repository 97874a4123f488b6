import { get } from './client'
import type { Page } from './types'

export const CAPABILITIES = [
  'text',
  'vision',
  'audio',
  'image_output',
  'audio_output',
  'embeddings',
  'thinking',
  'tools',
  'search',
] as const
export type Capability = (typeof CAPABILITIES)[number]

export interface ModelView {
  id: string
  display_name: string | null
  base?: string | null
  derived: boolean
  alias_of?: string | null
  filtered: boolean
  capabilities: Partial<Record<Capability, boolean>>
  input_token_limit: number | null
  output_token_limit: number | null
  methods: string[]
  thinking_budget?: number | null
}

export const listModels = (q?: string, signal?: AbortSignal) =>
  get<Page<ModelView>>('models', { q }, signal)
