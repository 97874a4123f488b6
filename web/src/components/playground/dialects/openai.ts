import { dataUrl, numbers, type Delta, type Dialect, type Message } from '../chat'

function written(message: Message): Record<string, unknown> {
  if (message.answers) return { role: 'tool', tool_call_id: message.answers.id, content: message.text }
  if (message.role === 'assistant') {
    const calls = message.calls.map((call) => ({
      id: call.id,
      type: 'function',
      function: { name: call.name, arguments: call.args || '{}' },
      ...(call.signature ? { extra_content: { google: { thought_signature: call.signature } } } : {}),
    }))
    return { role: 'assistant', content: message.text || null, ...(calls.length ? { tool_calls: calls } : {}) }
  }
  const pictures = message.pictures.map((picture) => ({ type: 'image_url', image_url: { url: dataUrl(picture) } }))
  return { role: 'user', content: pictures.length ? [{ type: 'text', text: message.text }, ...pictures] : message.text }
}

/** OpenAI's chat completions. */
export const openai: Dialect = {
  path: () => '/v1/chat/completions',
  headers: (token) => ({ authorization: `Bearer ${token}` }),
  body(messages, parameters, functions) {
    const { thinking, showThoughts } = parameters
    const tools = [
      ...functions.map((tool) => ({ type: 'function', function: tool })),
      ...(parameters.search ? [{ type: 'web_search' }] : []),
    ]
    return {
      model: parameters.model,
      stream: true,
      stream_options: { include_usage: true },
      messages: [...(parameters.system ? [{ role: 'system', content: parameters.system }] : []), ...messages.map(written)],
      ...numbers({ temperature: parameters.temperature, top_p: parameters.topP, max_completion_tokens: parameters.maxTokens }),
      ...(thinking === 'default' ? {} : { reasoning_effort: thinking === 'off' ? 'none' : thinking }),
      ...(showThoughts ? { extra_body: { google: { thinking_config: { include_thoughts: true } } } } : {}),
      ...(tools.length ? { tools } : {}),
    }
  },
  read(data) {
    if (data.error) return [{ kind: 'error', message: String(data.error.message ?? '') }]
    const deltas: Delta[] = []
    const usage = data.usage
    if (usage) {
      deltas.push({
        kind: 'usage',
        usage: {
          input: Number(usage.prompt_tokens ?? 0),
          output: Number(usage.completion_tokens ?? 0),
          thoughts: Number(usage.completion_tokens_details?.reasoning_tokens ?? 0),
          cached: Number(usage.prompt_tokens_details?.cached_tokens ?? 0),
        },
      })
    }
    const choice = data.choices?.['0']
    const delta = choice?.delta
    if (delta?.reasoning_content) deltas.push({ kind: 'thought', text: String(delta.reasoning_content) })
    if (delta?.content) deltas.push({ kind: 'text', text: String(delta.content) })
    if (delta?.refusal) deltas.push({ kind: 'text', text: String(delta.refusal) })
    for (const call of Object.values(delta?.tool_calls ?? {})) {
      const signature = call?.extra_content?.google?.thought_signature
      deltas.push({
        kind: 'call',
        at: String(call?.index ?? 0),
        ...(call?.id ? { id: String(call.id) } : {}),
        ...(call?.function?.name ? { name: String(call.function.name) } : {}),
        args: String(call?.function?.arguments ?? ''),
        ...(signature ? { signature: String(signature) } : {}),
      })
    }
    if (choice?.finish_reason) deltas.push({ kind: 'finish', reason: String(choice.finish_reason) })
    return deltas
  },
}
