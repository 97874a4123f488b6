/** The one door to the server: JSON in, JSON out, errors as `ApiError`. */

const BASE = '/api/admin'

/** What the server said about a request that it refused. */
export class ApiError extends Error {
  constructor(
    /** Status of HTTP; 0 when no answer came. */
    readonly status: number,
    /** `snake_case`, as `invalid_request`. */
    readonly code: string,
    message: string,
    /** What is wrong with single fields, by their names. */
    readonly fields: Record<string, string> = {},
    /** Seconds after which another attempt makes sense. */
    readonly retryAfter: number | null = null,
    readonly body: unknown = null,
  ) {
    super(message)
  }
}

export type Query = Record<string, string | number | boolean | null | undefined | readonly (string | number)[]>

export interface Options {
  query?: Query
  body?: unknown
  /** `If-Match`: the change is refused when somebody else was first. */
  ifMatch?: string | null
  idempotencyKey?: string
  signal?: AbortSignal
  /** A client token in place of the session. */
  bearer?: string
}

export interface Answer<T> {
  data: T
  etag: string | null
}

let csrfToken = ''
let onUnauthorized: () => void = () => {}

/** Every request that changes something carries this from now on. */
export function useCsrfToken(token: string) {
  csrfToken = token
}

/** Called when the server no longer knows the session. */
export function whenUnauthorized(listener: () => void) {
  onUnauthorized = listener
}

/** `?a=1&b=x`, lists joined by commas; what is empty is left out. */
export function queryString(query: Query = {}): string {
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    const text = Array.isArray(value) ? value.join(',') : value
    if (text !== null && text !== undefined && text !== '') parameters.set(name, String(text))
  }
  const text = parameters.toString()
  return text ? `?${text}` : ''
}

/** The address of something below the admin API, for links and streams. */
export function adminUrl(path: string, query?: Query): string {
  return `${BASE}/${path}${queryString(query)}`
}

function headersOf(method: string, options: Options): Headers {
  const headers = new Headers({ accept: 'application/json' })
  if (options.body !== undefined) headers.set('content-type', 'application/json')
  if (options.ifMatch) headers.set('if-match', options.ifMatch)
  if (options.idempotencyKey) headers.set('idempotency-key', options.idempotencyKey)
  if (options.bearer) headers.set('authorization', `Bearer ${options.bearer}`)
  else if (method !== 'GET' && csrfToken) headers.set('x-csrf-token', csrfToken)
  return headers
}

interface ErrorBody {
  error?: { code?: unknown; message?: unknown; fields?: Record<string, string> }
}

async function errorOf(response: Response): Promise<ApiError> {
  const text = await response.text()
  let body: ErrorBody = {}
  try {
    body = JSON.parse(text) as ErrorBody
  } catch {
    // A proxy in between answers in its own words; the status has to do.
  }
  const message = body.error?.message ?? (response.statusText || `HTTP ${response.status}`)
  const retryAfter = Number(response.headers.get('retry-after'))
  return new ApiError(
    response.status,
    String(body.error?.code ?? 'unknown'),
    String(message),
    body.error?.fields ?? {},
    retryAfter > 0 ? retryAfter : null,
    body,
  )
}

/** Sends a request to any path of this server; the answer is whatever came with a good status. */
export async function send(method: string, url: string, options: Options = {}): Promise<Response> {
  let response: Response
  try {
    response = await fetch(url, {
      method,
      headers: headersOf(method, options),
      body: options.body === undefined ? null : JSON.stringify(options.body),
      signal: options.signal ?? null,
      credentials: options.bearer ? 'omit' : 'same-origin',
    })
  } catch (cause) {
    if (options.signal?.aborted) throw cause
    throw new ApiError(0, 'unreachable', 'unreachable')
  }
  if (response.ok) return response
  const error = await errorOf(response)
  if (error.status === 401 && !options.bearer) onUnauthorized()
  throw error
}

/** Calls the admin API. `T` is what the documented answer holds; an empty answer is `undefined`. */
export async function call<T>(method: string, path: string, options: Options = {}): Promise<Answer<T>> {
  const response = await send(method, adminUrl(path, options.query), options)
  const text = await response.text()
  return { data: (text ? JSON.parse(text) : undefined) as T, etag: response.headers.get('etag') }
}

export async function get<T>(path: string, query?: Query, signal?: AbortSignal): Promise<T> {
  return (await call<T>('GET', path, { query, signal })).data
}

export async function post<T>(path: string, body?: unknown, options: Options = {}): Promise<T> {
  return (await call<T>('POST', path, { ...options, body: body ?? {} })).data
}

export async function remove<T = void>(path: string, query?: Query): Promise<T> {
  return (await call<T>('DELETE', path, { query })).data
}

/** Saves an answer as a file under the name that the server gave it. */
export async function download(method: string, path: string, options: Options = {}): Promise<void> {
  const response = await send(method, adminUrl(path, options.query), options)
  const named = /filename="?([^";]+)/.exec(response.headers.get('content-disposition') ?? '')
  const link = document.createElement('a')
  link.href = URL.createObjectURL(await response.blob())
  link.download = named?.[1] ?? path.replaceAll('/', '-')
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000)
}
