/** What was tried for a request, and why: the words of the gateway's own record. Durations are in milliseconds. */

/** The pool at the moment of a choice, as seen for one model; what is zero may be left out. */
export interface Census {
  keys: number
  ready: number
  paid?: number
  spent?: number
  cooling?: number
  open?: number
  half_open?: number
  denied?: number
  out?: number
  tried?: number
}

export interface Choice {
  reason: 'probe' | 'owner' | 'preferred' | 'policy'
  /** 1 is an idle key of which nothing bad is known. */
  cost: number
  /** Above zero the key costs money. */
  rank?: number
  others: Census
}

/** A used-up quota in Google's words. */
export interface Spent {
  window: 'unknown' | 'minute' | 'day'
  metric: 'unknown' | 'requests' | 'tokens' | 'images'
  limit?: number
  retry_after_ms?: number
}

export interface Attempt {
  key_id: number
  /** `null` for a key that is gone. */
  masked: string | null
  /** That it left by. */
  proxy?: string
  outcome: string
  extra?: 'hedge' | 'continuation'
  /** Of Google's answer; absent when none came. */
  status?: number
  reason?: string
  quota?: Spent
  /** What Google said. */
  message?: string | null
  duration_ms: number
  waited_ms?: number
  choice?: Choice
}

/** A key was wanted, and there was none. */
export interface NoKey {
  cause: 'quota' | 'model' | 'key' | 'egress' | 'no_usable_key' | 'soon' | 'attempts' | 'budget' | 'hung_up'
  recovers_in_ms?: number
  waited_ms?: number
  others?: Census
}

export interface Trail {
  attempts: Attempt[]
  no_keys: NoKey[]
}
