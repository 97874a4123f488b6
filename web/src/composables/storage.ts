/** What this browser remembers between visits: how things look, never what they hold. */

const PREFIX = 'gemini-balance.'

export function recall<T>(name: string, fallback: T): T {
  try {
    const text = localStorage.getItem(PREFIX + name)
    return text === null ? fallback : (JSON.parse(text) as T)
  } catch {
    // Storage may be switched off, or hold what an older version wrote.
    return fallback
  }
}

export function store(name: string, value: unknown) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value))
  } catch {
    // Without storage the choice lasts as long as the page.
  }
}
