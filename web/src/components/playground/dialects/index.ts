import type { Dialect, DialectName } from '../chat'
import { anthropic } from './anthropic'
import { gemini } from './gemini'
import { openai } from './openai'
import { responses } from './responses'

export const dialects: Record<DialectName, Dialect> = { openai, responses, anthropic, gemini }
