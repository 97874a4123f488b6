import { LayoutDashboard, MessagesSquare, ScrollText, Settings, TriangleAlert, Users } from '@lucide/vue'
import type { Component } from 'vue'
import type { RouteRecordRaw } from 'vue-router'

/** A page of the side navigation. `name` is also its word in the locales: `shell.page.<name>`. */
export interface NavPage {
  name: string
  icon: Component
  /** After `g`, opens the page. */
  key: string
  /** A group of the navigation begins here. */
  opensGroup?: boolean
}

export const NAV: readonly NavPage[] = [
  { name: 'overview', icon: LayoutDashboard, key: 'o' },
  { name: 'requests', icon: ScrollText, key: 'r' },
  { name: 'errors', icon: TriangleAlert, key: 'e' },
  { name: 'clients', icon: Users, key: 'c', opensGroup: true },
  { name: 'playground', icon: MessagesSquare, key: 'p' },
  { name: 'settings', icon: Settings, key: 's', opensGroup: true },
]

/** `public` pages need no session; `bare` ones are shown without the navigation. */
export const routes: RouteRecordRaw[] = [
  { path: '/', name: 'overview', component: () => import('@/views/Overview.vue') },
  { path: '/requests', alias: '/logs', name: 'requests', component: () => import('@/views/Requests.vue') },
  { path: '/errors', name: 'errors', component: () => import('@/views/Errors.vue') },
  { path: '/clients', name: 'clients', component: () => import('@/views/Clients.vue') },
  { path: '/playground', name: 'playground', component: () => import('@/views/Playground.vue') },
  { path: '/settings', alias: '/config', name: 'settings', component: () => import('@/views/Settings.vue') },
  { path: '/usage', name: 'usage', component: () => import('@/views/Usage.vue'), meta: { public: true, bare: true } },
  { path: '/login', name: 'login', component: () => import('@/views/Login.vue'), meta: { public: true, bare: true } },
  { path: '/:rest(.*)', name: 'missing', component: () => import('@/views/Missing.vue') },
]
