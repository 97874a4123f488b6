import { dataUrl, numbers, type Delta, type Dialect, type Message } from '../chat'

function written(message: Message): Record<string, unknown>[] {
  if (message.answers) return [{ type: 'function_call_output', call_id: message.answers.id, output: message.text }]
  if (message.role === 'assistant') {
    const calls = message.calls.map((call) => ({ type: 'function_call', call_id: call.id, name: call.name, arguments: call.args || '{}' }))
    return [...(message.text ? [{ role: 'assistant', content: message.text }] : []), ...calls]
  }
  const pictures = message.pictures.map((picture) => ({ type: 'input_image', image_url: dataUrl(picture) }))
  return [{ role: 'user', content: pictures.length ? [{ type: 'input_text', text: message.text }, ...pictures] : message.text }]
}

/** OpenAI's responses. The conversation goes along each time; nothing is kept at the server. */
export const responses: Dialect = {
  path: () => '/v1/responses',
  headers: (token) => ({ authorization: `Bearer ${token}` }),
  body(messages, parameters, functions) {
    const { thinking, showThoughts } = parameters
    const effort = thinking === 'default' ? {} : { effort: thinking === 'off' ? 'none' : thinking }
    const reasoning = { ...effort, ...(showThoughts ? { summary: 'auto' } : {}) }
    const tools = [
      ...functions.map((tool) => ({ type: 'function', strict: false, ...tool })),
      ...(parameters.search ? [{ type: 'web_search' }] : []),
    ]
    return {
      model: parameters.model,
      stream: true,
      store: false,
      ...(parameters.system ? { instructions: parameters.system } : {}),
      input: messages.flatMap(written),
      ...numbers({ temperature: parameters.temperature, top_p: parameters.topP, max_output_tokens: parameters.maxTokens }),
      ...(Object.keys(reasoning).length ? { reasoning } : {}),
      ...(tools.length ? { tools } : {}),
    }
  },
  read(data) {
    switch (String(data.type)) {
      case 'response.output_text.delta':
      case 'response.refusal.delta':
        return [{ kind: 'text', text: String(data.delta) }]
      case 'response.reasoning_summary_text.delta':
        return [{ kind: 'thought', text: String(data.delta) }]
      case 'response.output_item.done': {
        const item = data.item
        if (String(item?.type) === 'image_generation_call') return [{ kind: 'picture', picture: { mime: `image/${String(item?.output_format ?? 'png')}`, data: String(item?.result) } }]
        if (String(item?.type) !== 'function_call') return []
        return [{ kind: 'call', at: 'next', id: String(item?.call_id), name: String(item?.name), args: String(item?.arguments ?? '') }]
      }
      case 'response.completed':
      case 'response.incomplete': {
        const { usage, status } = data.response ?? {}
        const told: Delta[] = usage
          ? [{ kind: 'usage', usage: { input: Number(usage.input_tokens ?? 0), output: Number(usage.output_tokens ?? 0), thoughts: Number(usage.output_tokens_details?.reasoning_tokens ?? 0), cached: Number(usage.input_tokens_details?.cached_tokens ?? 0) } }]
          : []
        return [...told, { kind: 'finish', reason: String(status ?? '') }]
      }
      case 'response.failed':
        return [{ kind: 'error', message: String(data.response?.error?.message ?? '') }]
      case 'error':
        return [{ kind: 'error', message: String(data.message ?? data.error?.message ?? '') }]
      default:
        return []
    }
  },
}
