import {
  Activity,
  Boxes,
  KeyRound,
  LayoutDashboard,
  MessagesSquare,
  ScrollText,
  Settings,
  TriangleAlert,
  Users,
} from '@lucide/vue'
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
  { name: 'keys', icon: KeyRound, key: 'k' },
  { name: 'requests', icon: ScrollText, key: 'r' },
  { name: 'errors', icon: TriangleAlert, key: 'e' },
  { name: 'clients', icon: Users, key: 'c', opensGroup: true },
  { name: 'models', icon: Boxes, key: 'm' },
  { name: 'playground', icon: MessagesSquare, key: 'p' },
  { name: 'settings', icon: Settings, key: 's', opensGroup: true },
  { name: 'system', icon: Activity, key: 'y' },
]

/** `public` pages need no session; `bare` ones are shown without the navigation. */
export const routes: RouteRecordRaw[] = [
  { path: '/', name: 'overview', component: () => import('@/views/Overview.vue') },
  { path: '/keys', name: 'keys', alias: '/keys_status', component: () => import('@/views/Keys.vue') },
  { path: '/requests', alias: '/logs', name: 'requests', component: () => import('@/views/Requests.vue') },
  { path: '/errors', name: 'errors', component: () => import('@/views/Errors.vue') },
  { path: '/clients', name: 'clients', component: () => import('@/views/Clients.vue') },
  { path: '/playground', name: 'playground', component: () => import('@/views/Playground.vue') },
  { path: '/settings', alias: '/config', name: 'settings', component: () => import('@/views/Settings.vue') },
  { path: '/usage', name: 'usage', component: () => import('@/views/Usage.vue'), meta: { public: true, bare: true } },
  { path: '/models', name: 'models', component: () => import('@/views/Models.vue') },
  { path: '/system', name: 'system', component: () => import('@/views/System.vue') },
  { path: '/docs', name: 'docs', component: () => import('@/views/Docs.vue'), meta: { public: true } },
  { path: '/login', name: 'login', component: () => import('@/views/Login.vue'), meta: { public: true, bare: true } },
  { path: '/:rest(.*)', name: 'missing', component: () => import('@/views/Missing.vue') },
]
