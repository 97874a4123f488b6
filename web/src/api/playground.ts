/** Streams of the client API, spoken with a client token as any client does. */
import { createParser, type EventSourceMessage } from 'eventsource-parser'
import { ApiError } from './client'

export interface Call {
  path: string
  headers: Record<string, string>
  body: unknown
}

export interface StreamHead {
  status: number
  requestId: string | null
}

export interface StreamListener {
  onHead: (head: StreamHead) => void
  onEvent: (event: EventSourceMessage) => void
  /** Every byte as it came, for those who want to see it. */
  onRaw: (text: string) => void
}

/** Sends a request and hears its events until the end; an answer without success is an `ApiError` in its dialect's words. */
export async function streamCall(call: Call, listener: StreamListener, signal: AbortSignal): Promise<void> {
  const response = await connect(call, signal)
  listener.onHead({ status: response.status, requestId: response.headers.get('x-request-id') })
  if (!response.ok || !response.body) {
    const text = await response.text()
    listener.onRaw(text)
    throw new ApiError(response.status, 'refused', messageIn(text) ?? `HTTP ${response.status}`)
  }
  const parser = createParser({ onEvent: listener.onEvent })
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    listener.onRaw(value)
    parser.feed(value)
  }
}

async function connect({ path, headers, body }: Call, signal: AbortSignal): Promise<Response> {
  try {
    return await fetch(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
      credentials: 'omit',
      signal,
    })
  } catch (cause) {
    if (signal.aborted) throw cause
    throw new ApiError(0, 'unreachable', 'unreachable')
  }
}

/** All dialects have their message at the same place. */
export function messageIn(text: string): string | null {
  try {
    const body = JSON.parse(text) as { error?: { message?: unknown } } | { error?: { message?: unknown } }[]
    const message = (Array.isArray(body) ? body[0] : body)?.error?.message
    return typeof message === 'string' ? message : null
  } catch {
    // A proxy in between answers in its own words.
    return null
  }
}
