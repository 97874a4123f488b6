/** A conversation in no dialect at all; the dialects write it down and read the answers. */

export interface ToolCall {
  id: string
  name: string
  /** JSON, as far as it has come. */
  args: string
  /** Gemini's signature of the thought behind it, which goes back with the call. */
  signature?: string
}

export interface Picture {
  mime: string
  /** Base64. */
  data: string
  name?: string
}

export interface Message {
  id: number
  role: 'user' | 'assistant' | 'tool'
  text: string
  thoughts: string
  pictures: Picture[]
  calls: ToolCall[]
  /** Of a result of a tool: which call it belongs to. */
  answers?: { id: string; name: string }
}

export const THINKING = ['default', 'off', 'low', 'medium', 'high'] as const
export type Thinking = (typeof THINKING)[number]

export interface Parameters {
  dialect: DialectName
  model: string
  system: string
  /** Blank leaves it to the model. */
  temperature: string | number
  topP: string | number
  maxTokens: string | number
  thinking: Thinking
  showThoughts: boolean
  search: boolean
  /** JSON list of functions: name, description, parameters. */
  functions: string
}

export const DIALECTS = ['openai', 'responses', 'anthropic', 'gemini'] as const
export type DialectName = (typeof DIALECTS)[number]

export interface FunctionTool {
  name: string
  description?: string
  parameters?: unknown
}

export interface Usage {
  input?: number
  output?: number
  thoughts?: number
  cached?: number
}

/** What one event of an answer adds. */
export type Delta =
  | { kind: 'text'; text: string }
  | { kind: 'thought'; text: string }
  | { kind: 'picture'; picture: Picture }
  | { kind: 'call'; at: string; id?: string; name?: string; args?: string; signature?: string }
  | { kind: 'usage'; usage: Usage }
  | { kind: 'finish'; reason: string }
  | { kind: 'error'; message: string }

export interface Dialect {
  path: (model: string) => string
  headers: (token: string) => Record<string, string>
  body: (messages: readonly Message[], parameters: Parameters, functions: readonly FunctionTool[]) => unknown
  /** What an event says; `event` is its name, `data` its JSON. */
  read: (data: Json, event: string | undefined) => Delta[]
}

/** JSON of which nobody knows the shape beforehand. */
export interface Json {
  [name: string]: Json | undefined
}

let last = 0
export function newMessage(role: Message['role'], parts: Partial<Message> = {}): Message {
  return { id: ++last, role, text: '', thoughts: '', pictures: [], calls: [], ...parts }
}

/** The message with what came. */
export function apply(message: Message, delta: Delta): Message {
  switch (delta.kind) {
    case 'text':
      return { ...message, text: message.text + delta.text }
    case 'thought':
      return { ...message, thoughts: message.thoughts + delta.text }
    case 'picture':
      return { ...message, pictures: [...message.pictures, delta.picture] }
    case 'call':
      return { ...message, calls: withCall(message.calls, delta) }
    default:
      return message
  }
}

/** A call comes in pieces: `at` is its number, the `last` one, or the `next` that there is none of yet. */
function withCall(calls: readonly ToolCall[], delta: Extract<Delta, { kind: 'call' }>): ToolCall[] {
  const index = delta.at === 'next' ? calls.length : delta.at === 'last' ? Math.max(0, calls.length - 1) : Number(delta.at)
  const known = calls[index] ?? { id: delta.id ?? `call_${index}`, name: '', args: '' }
  const call = {
    ...known,
    id: delta.id ?? known.id,
    name: delta.name ?? known.name,
    args: known.args + (delta.args ?? ''),
    ...(delta.signature ? { signature: delta.signature } : {}),
  }
  return [...calls.slice(0, index), call, ...calls.slice(index + 1)]
}

/** The fields that are set; blank ones are left to the server. */
export function numbers(fields: Record<string, string | number>): Record<string, number> {
  const set = Object.entries(fields).filter(([, value]) => value !== '' && Number.isFinite(Number(value)))
  return Object.fromEntries(set.map(([name, value]) => [name, Number(value)]))
}

export const dataUrl = ({ mime, data }: Picture) => `data:${mime};base64,${data}`

/** Arguments of a call; what is not complete yet counts as none. */
export function argumentsOf(call: ToolCall): unknown {
  try {
    return JSON.parse(call.args || '{}')
  } catch {
    return {}
  }
}

/** What somebody wrote as functions: the list, or what is wrong with it. */
export function functionsOf(text: string): { functions: FunctionTool[] } | { problem: string } {
  if (!text.trim()) return { functions: [] }
  try {
    const list = JSON.parse(text) as unknown
    const isFit = Array.isArray(list) && list.every((item) => typeof (item as FunctionTool)?.name === 'string')
    return isFit ? { functions: list as FunctionTool[] } : { problem: '[{"name": …}]' }
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) }
  }
}
