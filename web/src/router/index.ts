import { watch } from 'vue'
import { createRouter, createWebHistory } from 'vue-router'
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

router.beforeEach(async (to) => {
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
