import { describe, expect, it } from 'vitest'
import { apply, functionsOf, newMessage, type DialectName, type Json, type Message, type Parameters } from '@/components/playground/chat'
import { dialects } from '@/components/playground/dialects'

const parameters = (fields: Partial<Parameters> = {}): Parameters => ({
  dialect: 'openai', model: 'm', system: 'Be kind.', temperature: 0, topP: '', maxTokens: 100, thinking: 'low', showThoughts: true, search: true, functions: '', ...fields,
})
const TOOL = { name: 'f', description: 'd', parameters: { type: 'object' } }
const HISTORY: Message[] = [
  newMessage('user', { text: 'Look', pictures: [{ mime: 'image/png', data: 'AA==' }] }),
  newMessage('assistant', { calls: [{ id: 'c1', name: 'f', args: '{"x":1}', signature: 's' }] }),
  newMessage('tool', { text: 'done', answers: { id: 'c1', name: 'f' } }),
]
/** What a stream of events makes of an empty answer. */
function answer(dialect: DialectName, events: unknown[]): Message {
  const deltas = events.flatMap((event) => dialects[dialect].read(event as Json, undefined))
  return deltas.reduce(apply, newMessage('assistant'))
}

describe('every dialect', () => {
  it.each(Object.keys(dialects) as DialectName[])('%s says everything that is set, and nothing that is not', (name) => {
    const body = JSON.stringify(dialects[name].body(HISTORY, parameters(), [TOOL]))
    for (const part of ['Be kind.', 'Look', 'AA==', '100', 'done', '"f"']) expect(body).toContain(part)
    expect(body).toMatch(/"temperature":0/)
    expect(body).not.toMatch(/top_?p/i)
    expect(body).toMatch(/search/i)
  })

  it.each(Object.keys(dialects) as DialectName[])('%s says little where nothing is set', (name) => {
    const plain = parameters({ system: '', temperature: '', maxTokens: '', thinking: 'default', showThoughts: false, search: false })
    const body = dialects[name].body([newMessage('user', { text: 'Hi' })], plain, []) as Record<string, unknown>
    expect(Object.keys(body).filter((field) => /tool|reason|thinking|generationConfig|system|instructions/.test(field))).toEqual([])
  })
})

describe('answers', () => {
  it('of chat completions come in pieces, calls as well', () => {
    const chunk = (delta: object) => ({ choices: [{ delta }] })
    const call = (fields: object) => chunk({ tool_calls: [{ index: 0, ...fields }] })
    const said = answer('openai', [
      chunk({ reasoning_content: 'Hm.' }),
      chunk({ content: 'Hel' }),
      chunk({ content: 'lo' }),
      call({ id: 'c', function: { name: 'f', arguments: '{"a"' } }),
      call({ function: { arguments: ':1}' } }),
    ])
    expect(said).toMatchObject({ text: 'Hello', thoughts: 'Hm.', calls: [{ id: 'c', name: 'f', args: '{"a":1}' }] })
  })

  it('of responses', () => {
    const said = answer('responses', [
      { type: 'response.reasoning_summary_text.delta', delta: 'Hm.' },
      { type: 'response.output_text.delta', delta: 'Hello' },
      { type: 'response.output_item.done', item: { type: 'function_call', call_id: 'c', name: 'f', arguments: '{}' } },
      { type: 'response.output_item.done', item: { type: 'function_call', call_id: 'd', name: 'g', arguments: '{}' } },
      { type: 'response.output_item.done', item: { type: 'image_generation_call', output_format: 'png', result: 'AA==' } },
    ])
    expect(said).toMatchObject({ text: 'Hello', thoughts: 'Hm.', pictures: [{ mime: 'image/png', data: 'AA==' }], calls: [{ id: 'c' }, { id: 'd' }] })
  })

  it('of messages', () => {
    const said = answer('anthropic', [
      { type: 'content_block_delta', delta: { type: 'thinking_delta', thinking: 'Hm.' } },
      { type: 'content_block_delta', delta: { type: 'text_delta', text: 'Hello' } },
      { type: 'content_block_start', content_block: { type: 'tool_use', id: 'c', name: 'f' } },
      { type: 'content_block_delta', delta: { type: 'input_json_delta', partial_json: '{"a":1}' } },
    ])
    expect(said).toMatchObject({ text: 'Hello', thoughts: 'Hm.', calls: [{ id: 'c', name: 'f', args: '{"a":1}' }] })
  })

  it("of Gemini's own, with pictures and signatures", () => {
    const parts = [
      { text: 'Hm.', thought: true },
      { text: 'Hello' },
      { inlineData: { mimeType: 'image/png', data: 'AA==' } },
      { functionCall: { name: 'f', args: { a: 1 } }, thoughtSignature: 's' },
    ]
    const said = answer('gemini', [{ candidates: [{ content: { parts } }] }])
    expect(said).toMatchObject({ text: 'Hello', thoughts: 'Hm.', pictures: [{ mime: 'image/png' }], calls: [{ name: 'f', args: '{"a":1}', signature: 's' }] })
  })

  it('count thoughts as a part of the output, whatever the dialect', () => {
    const usages = [
      dialects.gemini.read({ usageMetadata: { promptTokenCount: 3, candidatesTokenCount: 5, thoughtsTokenCount: 2 } } as unknown as Json, undefined),
      dialects.openai.read({ usage: { prompt_tokens: 3, completion_tokens: 7, completion_tokens_details: { reasoning_tokens: 2 } } } as unknown as Json, undefined),
      dialects.anthropic.read({ type: 'message_delta', usage: { input_tokens: 3, output_tokens: 7, output_tokens_details: { thinking_tokens: 2 } } } as unknown as Json, undefined),
    ]
    for (const [told] of usages) expect(told).toMatchObject({ kind: 'usage', usage: { input: 3, output: 7, thoughts: 2 } })
  })

  it('that break off say why', () => {
    const error = { error: { message: 'overloaded' } }
    expect(dialects.openai.read(error as unknown as Json, undefined)).toEqual([{ kind: 'error', message: 'overloaded' }])
    expect(dialects.gemini.read(error as unknown as Json, undefined)).toEqual([{ kind: 'error', message: 'overloaded' }])
  })
})

describe('functions', () => {
  it('are a list with names, or something is wrong', () => {
    expect(functionsOf('')).toEqual({ functions: [] })
    expect(functionsOf('[{"name":"f"}]')).toEqual({ functions: [{ name: 'f' }] })
    for (const text of ['{', '{}', '[1]']) expect(functionsOf(text)).toHaveProperty('problem')
  })
})
