import { computed, readonly, ref } from 'vue'
import { ApiError, useCsrfToken, whenUnauthorized } from '@/api/client'
import { createSession, deleteSession, findSession, type Session } from '@/api/session'

const session = ref<Session | null>(null)
let asked: Promise<void> | null = null

function remember(found: Session | null) {
  session.value = found
  useCsrfToken(found?.csrf_token ?? '')
}

whenUnauthorized(() => remember(null))

async function ask() {
  try {
    remember(await findSession())
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    remember(null)
  }
}

/** Who is logged in: one session for the whole page. */
export function useSession() {
  return {
    session: readonly(session),
    isOpen: computed(() => session.value !== null),
    /** Asks the server, once for each load of the page. */
    restore: () => (asked ??= ask()),
    async logIn(token: string) {
      remember(await createSession(token))
    },
    async logOut() {
      try {
        await deleteSession()
      } finally {
        remember(null)
      }
    },
  }
}
