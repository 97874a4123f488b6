import { argumentsOf, numbers, type Delta, type Dialect, type Message } from '../chat'

/** Anthropic wants a number; this is what is asked for where nobody said one. */
const MAX_TOKENS = 8_192
const BUDGETS = { low: 1_024, medium: 4_096, high: 16_384 }

function written(message: Message): { role: string; content: unknown[] } {
  if (message.answers) return { role: 'user', content: [{ type: 'tool_result', tool_use_id: message.answers.id, content: message.text }] }
  const text = message.text ? [{ type: 'text', text: message.text }] : []
  if (message.role === 'assistant') {
    const calls = message.calls.map((call) => ({ type: 'tool_use', id: call.id, name: call.name, input: argumentsOf(call) }))
    return { role: 'assistant', content: [...text, ...calls] }
  }
  const pictures = message.pictures.map(({ mime, data }) => ({ type: 'image', source: { type: 'base64', media_type: mime, data } }))
  return { role: 'user', content: [...pictures, ...text] }
}

/** Anthropic's messages. */
export const anthropic: Dialect = {
  path: () => '/anthropic/v1/messages',
  headers: (token) => ({ 'x-api-key': token, 'anthropic-version': '2023-06-01' }),
  body(messages, parameters, functions) {
    const { thinking, showThoughts } = parameters
    const budget = thinking === 'default' || thinking === 'off' ? null : BUDGETS[thinking]
    const most = parameters.maxTokens === '' ? MAX_TOKENS + (budget ?? 0) : Number(parameters.maxTokens)
    const tools = [
      ...functions.map(({ name, description, parameters: schema }) => ({ name, description, input_schema: schema ?? { type: 'object' } })),
      ...(parameters.search ? [{ type: 'web_search_20250305', name: 'web_search' }] : []),
    ]
    const display = showThoughts ? {} : { display: 'omitted' }
    return {
      model: parameters.model,
      stream: true,
      max_tokens: most,
      ...(parameters.system ? { system: parameters.system } : {}),
      messages: messages.map(written),
      ...numbers({ temperature: parameters.temperature, top_p: parameters.topP }),
      ...(thinking === 'off' ? { thinking: { type: 'disabled' } } : {}),
      ...(budget !== null ? { thinking: { type: 'enabled', budget_tokens: Math.min(budget, Math.max(1_024, most - 1)), ...display } } : {}),
      ...(thinking === 'default' && showThoughts ? { thinking: { type: 'adaptive' } } : {}),
      ...(tools.length ? { tools } : {}),
    }
  },
  read(data) {
    switch (String(data.type)) {
      case 'message_start':
        return data.message?.usage ? [{ kind: 'usage', usage: { input: Number(data.message.usage.input_tokens ?? 0), cached: Number(data.message.usage.cache_read_input_tokens ?? 0) } }] : []
      case 'content_block_start': {
        const block = data.content_block
        if (String(block?.type) !== 'tool_use') return []
        return [{ kind: 'call', at: 'next', id: String(block?.id), name: String(block?.name) }]
      }
      case 'content_block_delta': {
        const delta = data.delta
        if (String(delta?.type) === 'text_delta') return [{ kind: 'text', text: String(delta?.text) }]
        if (String(delta?.type) === 'thinking_delta') return [{ kind: 'thought', text: String(delta?.thinking) }]
        if (String(delta?.type) === 'input_json_delta') return [{ kind: 'call', at: 'last', args: String(delta?.partial_json) }]
        return []
      }
      case 'message_delta': {
        const usage: Delta[] = data.usage ? [{ kind: 'usage', usage: { output: Number(data.usage.output_tokens ?? 0), thoughts: Number(data.usage.output_tokens_details?.thinking_tokens ?? 0), ...(data.usage.input_tokens ? { input: Number(data.usage.input_tokens) } : {}) } }] : []
        const reason = data.delta?.stop_reason
        return [...usage, ...(reason ? [{ kind: 'finish' as const, reason: String(reason) }] : [])]
      }
      case 'error':
        return [{ kind: 'error', message: String(data.error?.message ?? '') }]
      default:
        return []
    }
  },
}
