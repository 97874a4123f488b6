import { watch } from 'vue'
import { createRouter, createWebHistory, type RouteLocationNormalized } from 'vue-router'
import { useSession } from '@/composables/useSession'
import { i18n } from '@/locales'
import { routes } from './pages'

declare module 'vue-router' {
  interface RouteMeta {
    public?: boolean
    bare?: boolean
  }
}

export const router = createRouter({
  history: createWebHistory(),
  routes,
  scrollBehavior: (to, from, saved) => saved ?? (to.path === from.path ? undefined : { top: 0 }),
})

/** The code of a page is on its way while the server is asked who this is; whether it fails shows when it is needed. */
function fetchCode({ matched }: RouteLocationNormalized) {
  for (const { components } of matched) {
    const page = components?.default as (() => Promise<unknown>) | undefined
    if (typeof page === 'function') page().catch(() => {})
  }
}

router.beforeEach(async (to) => {
  fetchCode(to)
  const session = useSession()
  await session.restore()
  if (!session.isOpen.value && !to.meta.public) return { name: 'login', query: { next: to.fullPath } }
  return true
})

/** The page's name in the window's title. */
function nameWindow() {
  const name = router.currentRoute.value.name
  const page = name ? i18n.global.t(`shell.page.${String(name)}`) : ''
  document.title = page ? `${page} · Gemini Balance` : 'Gemini Balance'
}

router.afterEach(nameWindow)
watch(i18n.global.locale, nameWindow)
