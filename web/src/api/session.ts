import { call, get, post } from './client'

export interface Session {
  csrf_token: string
  expires_at_ms: number
  node: string | null
  version: string
}

export const createSession = (token: string) => post<Session>('session', { token })
export const findSession = () => get<Session>('session')
export const deleteSession = async () => void (await call<void>('DELETE', 'session'))
