import { ref } from 'vue'

const NAME = 'gemini-balance.holder'

/** The client token of somebody who looks at their own use; it goes when the tab is closed. */
export function useHolder() {
  const token = ref(read())
  return {
    token,
    logIn(given: string) {
      token.value = given
      write(given)
    },
    logOut() {
      token.value = ''
      write('')
    },
  }
}

function read(): string {
  try {
    return sessionStorage.getItem(NAME) ?? ''
  } catch {
    // Storage may be switched off; then the token lasts as long as the page.
    return ''
  }
}

function write(token: string) {
  try {
    if (token) sessionStorage.setItem(NAME, token)
    else sessionStorage.removeItem(NAME)
  } catch {
    // As above.
  }
}
