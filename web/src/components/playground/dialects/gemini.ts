import { argumentsOf, numbers, type Delta, type Dialect, type Json, type Message } from '../chat'

const LEVELS = { off: 0, low: 1_024, medium: 8_192, high: 24_576 }

function written(message: Message): { role: string; parts: unknown[] } {
  if (message.answers) {
    return { role: 'user', parts: [{ functionResponse: { name: message.answers.name, response: { result: message.text } } }] }
  }
  const text = message.text ? [{ text: message.text }] : []
  const pictures = message.pictures.map(({ mime, data }) => ({ inlineData: { mimeType: mime, data } }))
  const calls = message.calls.map((call) => ({
    functionCall: { name: call.name, args: argumentsOf(call) },
    ...(call.signature ? { thoughtSignature: call.signature } : {}),
  }))
  return { role: message.role === 'assistant' ? 'model' : 'user', parts: [...pictures, ...text, ...calls] }
}

/** Gemini's own format. */
export const gemini: Dialect = {
  path: (model) => `/v1beta/models/${encodeURIComponent(model)}:streamGenerateContent?alt=sse`,
  headers: (token) => ({ 'x-goog-api-key': token }),
  body(messages, parameters, functions) {
    const { thinking, showThoughts } = parameters
    const thinkingConfig = {
      ...(thinking === 'default' ? {} : { thinkingBudget: LEVELS[thinking] }),
      ...(showThoughts ? { includeThoughts: true } : {}),
    }
    const generationConfig = {
      ...numbers({ temperature: parameters.temperature, topP: parameters.topP, maxOutputTokens: parameters.maxTokens }),
      ...(Object.keys(thinkingConfig).length ? { thinkingConfig } : {}),
    }
    const tools = [
      ...(functions.length ? [{ functionDeclarations: functions }] : []),
      ...(parameters.search ? [{ googleSearch: {} }] : []),
    ]
    return {
      contents: messages.map(written),
      ...(parameters.system ? { systemInstruction: { parts: [{ text: parameters.system }] } } : {}),
      ...(Object.keys(generationConfig).length ? { generationConfig } : {}),
      ...(tools.length ? { tools } : {}),
    }
  },
  read(data) {
    if (data.error) return [{ kind: 'error', message: String(data.error.message ?? '') }]
    const candidate = data.candidates?.['0']
    const deltas = Object.values(candidate?.content?.parts ?? {}).flatMap(readPart)
    const usage = data.usageMetadata
    if (usage) {
      deltas.push({
        kind: 'usage',
        usage: {
          input: Number(usage.promptTokenCount ?? 0),
          // Thoughts are a part of the output, as in the other dialects.
          output: Number(usage.candidatesTokenCount ?? 0) + Number(usage.thoughtsTokenCount ?? 0),
          thoughts: Number(usage.thoughtsTokenCount ?? 0),
          cached: Number(usage.cachedContentTokenCount ?? 0),
        },
      })
    }
    const reason = candidate?.finishReason ?? data.promptFeedback?.blockReason
    return reason ? [...deltas, { kind: 'finish', reason: String(reason) }] : deltas
  },
}

function readPart(part: Json | undefined): Delta[] {
  if (!part) return []
  if (part.functionCall) {
    const { name, args, id } = part.functionCall
    const signature = part.thoughtSignature ? { signature: String(part.thoughtSignature) } : {}
    return [{ kind: 'call', at: 'next', ...(id ? { id: String(id) } : {}), name: String(name), args: JSON.stringify(args ?? {}), ...signature }]
  }
  if (part.inlineData) {
    const { mimeType, data } = part.inlineData
    return [{ kind: 'picture', picture: { mime: String(mimeType), data: String(data) } }]
  }
  if (part.text) return [{ kind: part.thought ? 'thought' : 'text', text: String(part.text) }]
  return []
}
