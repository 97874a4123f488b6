import { readonly, ref } from 'vue'
import { ApiError } from '@/api/client'
import { i18n } from '@/locales'

export interface Toast {
  id: number
  kind: 'success' | 'error' | 'info'
  title: string
  detail?: string
  action?: { label: string; run: () => void }
}

const SHOWN = 4
const toasts = ref<Toast[]>([])
let last = 0

/** What went wrong, in the server's own words. */
export function messageOf(error: unknown): string {
  if (!(error instanceof ApiError)) return error instanceof Error ? error.message : String(error)
  if (error.status === 0) return i18n.global.t('common.unreachable')
  return error.message
}

function show(toast: Omit<Toast, 'id'>) {
  toasts.value = [...toasts.value, { ...toast, id: ++last }].slice(-SHOWN)
}

/** Short notices in the corner; an error stays until somebody closes it. */
export function useToasts() {
  return {
    toasts: readonly(toasts),
    show,
    succeed: (title: string, action?: Toast['action']) => show({ kind: 'success', title, action }),
    fail(error: unknown, title?: string) {
      // The login page says it better.
      if (error instanceof ApiError && error.status === 401) return
      const message = messageOf(error)
      show({ kind: 'error', title: title ?? message, detail: title ? message : undefined })
    },
    dismiss(id: number) {
      toasts.value = toasts.value.filter((toast) => toast.id !== id)
    },
  }
}
