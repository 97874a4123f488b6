import { computed, onScopeDispose, ref, shallowRef } from 'vue'
import { apply, functionsOf, newMessage, type Json, type Message, type Parameters, type Picture, type Usage } from './chat'
import { dialects } from './dialects'
import { ApiError } from '@/api/client'
import { streamCall, type Call } from '@/api/playground'
import { lendToken } from '@/api/tokens'
import { messageOf } from '@/composables/useToasts'

/** What went over the wire in the last exchange. */
export interface Exchange {
  call: Call
  status: number | null
  requestId: string | null
  raw: string
  firstMs: number | null
  totalMs: number | null
  usage: Usage
  finish: string
}

/** More of a raw answer than this is of no use to anybody. */
const RAW_KEPT = 400_000
const RENEW_BEFORE_MS = 60_000

/** A conversation with a model over this gateway. */
export function usePlayground(parameters: Parameters) {
  const messages = shallowRef<Message[]>([])
  const exchange = shallowRef<Exchange | null>(null)
  const problem = ref('')
  const isBusy = ref(false)
  let lent: { token: string; expires_at_ms: number } | null = null
  let running: AbortController | null = null

  async function token(): Promise<string> {
    if (!lent || lent.expires_at_ms - RENEW_BEFORE_MS < Date.now()) lent = await lendToken()
    return lent.token
  }

  /** Calls that wait for somebody to say what came of them. */
  const openCalls = computed(() => {
    const asked = messages.value.findLast(({ role }) => role === 'assistant')?.calls ?? []
    const told = new Set(messages.value.flatMap(({ answers }) => (answers ? [answers.id] : [])))
    return isBusy.value ? [] : asked.filter(({ id }) => !told.has(id))
  })

  function callFor(history: readonly Message[], bearer: string): Call {
    const dialect = dialects[parameters.dialect]
    const found = functionsOf(parameters.functions)
    const functions = 'functions' in found ? found.functions : []
    return {
      path: dialect.path(parameters.model),
      headers: dialect.headers(bearer),
      body: dialect.body(history, parameters, functions),
    }
  }

  async function ask() {
    const history = messages.value
    const { signal } = (running = new AbortController())
    const begun = performance.now()
    const answer = newMessage('assistant')
    messages.value = [...history, answer]
    problem.value = ''
    isBusy.value = true
    const update = (change: Partial<Exchange>) => exchange.value && (exchange.value = { ...exchange.value, ...change })
    try {
      const call = callFor(history, await token())
      exchange.value = { call, status: null, requestId: null, raw: '', firstMs: null, totalMs: null, usage: {}, finish: '' }
      await streamCall(call, {
        onHead: (head) => update(head),
        onRaw: (text) => update({ raw: ((exchange.value?.raw ?? '') + text).slice(-RAW_KEPT) }),
        onEvent: ({ data, event }) => hear(data, event, answer.id, performance.now() - begun, update),
      }, signal)
    } catch (error) {
      // Another token is lent after the first refusal, as when the gateway was started anew.
      if (error instanceof ApiError && error.status === 401) lent = null
      if (!signal.aborted) problem.value = messageOf(error)
    } finally {
      update({ totalMs: performance.now() - begun })
      messages.value = messages.value.filter((message) => message.id !== answer.id || hasContent(message))
      isBusy.value = false
      running = null
    }
  }

  function hear(data: string, event: string | undefined, id: number, atMs: number, update: (change: Partial<Exchange>) => void) {
    if (data === '[DONE]') return
    for (const delta of dialects[parameters.dialect].read(JSON.parse(data) as Json, event)) {
      if (delta.kind === 'usage') update({ usage: { ...exchange.value?.usage, ...delta.usage } })
      else if (delta.kind === 'finish') update({ finish: delta.reason })
      else if (delta.kind === 'error') problem.value = delta.message
      else {
        if (exchange.value?.firstMs === null) update({ firstMs: atMs })
        messages.value = messages.value.map((message) => (message.id === id ? apply(message, delta) : message))
      }
    }
  }

  onScopeDispose(() => running?.abort())
  return {
    messages,
    exchange,
    problem,
    isBusy,
    openCalls,
    async send(text: string, pictures: Picture[]) {
      messages.value = [...messages.value, newMessage('user', { text, pictures })]
      await ask()
    },
    async answerCall(id: string, name: string, text: string) {
      messages.value = [...messages.value, newMessage('tool', { text, answers: { id, name } })]
      if (openCalls.value.length === 0) await ask()
    },
    /** Once more from the last thing that was said by a person or a tool. */
    async retry() {
      const last = messages.value.findLastIndex(({ role }) => role !== 'assistant')
      if (last < 0) return
      messages.value = messages.value.slice(0, last + 1)
      await ask()
    },
    stop: () => running?.abort(),
    clear() {
      running?.abort()
      messages.value = []
      exchange.value = null
      problem.value = ''
    },
  }
}

const hasContent = ({ text, thoughts, pictures, calls }: Message) => text !== '' || thoughts !== '' || pictures.length + calls.length > 0
