// A Chromium, its pages, and what every page is looked at for.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { chromium } from 'playwright-core'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]
/** Not what is expected of a page, but when there is no more hope, also on a machine that does other work. */
const DEADLINE_MS = 30_000
export const DESKTOP = { width: 1440, height: 900 }
export const PHONE = { width: 390, height: 844 }

/** The tastes of viewers: everything is looked at in all of these. */
export const VIEWS = [
  { theme: 'light', locale: 'en' },
  { theme: 'dark', locale: 'en' },
  { theme: 'light', locale: 'zh-CN' },
  { theme: 'dark', locale: 'zh-CN' },
  { theme: 'light', locale: 'en', viewport: PHONE },
  { theme: 'dark', locale: 'zh-CN', viewport: PHONE },
]
export const nameOf = ({ theme, locale, viewport }) => `${theme}-${locale}${viewport ? '-phone' : ''}`

export const startBrowser = () => chromium.launch({ executablePath: process.env.CHROMIUM, args: ARGUMENTS })

/** A page of its own, with a viewer's tastes; what goes wrong in it is kept in `page.problems`. */
export async function openPage(browser, { theme = 'light', locale = 'en', viewport = DESKTOP, timezoneId } = {}) {
  const context = await browser.newContext({ viewport, locale, timezoneId, acceptDownloads: true })
  context.setDefaultTimeout(DEADLINE_MS)
  await context.addInitScript(
    ([theme, locale]) => {
      if (localStorage.length > 0) return
      localStorage.setItem('gemini-balance.theme', JSON.stringify(theme))
      localStorage.setItem('gemini-balance.locale', JSON.stringify(locale))
    },
    [theme, locale],
  )
  const page = await context.newPage()
  page.problems = []
  countRequests(page)
  page.on('pageerror', (error) => page.problems.push(error.message))
  page.on('console', (message) => {
    // What the server refuses is shown to the viewer; the browser notes it as well.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) page.problems.push(message.text())
  })
  return page
}

/** Requests that await their answer; the stream of events never ends and says nothing of the page. */
function countRequests(page) {
  const open = new Set()
  page.on('request', (request) => request.url().includes('/api/admin/events') || open.add(request))
  for (const end of ['requestfinished', 'requestfailed']) page.on(end, (request) => open.delete(request))
  page.openRequests = open
}

const QUIET_LOOKS = 3

/** Waits until a page has all that it asked for and shows it: no request is open and no place is kept, three looks long. */
export async function settled(page) {
  const deadline = Date.now() + DEADLINE_MS
  for (let quiet = 0; quiet < QUIET_LOOKS; ) {
    if (Date.now() > deadline) throw new Error(`still open: ${[...page.openRequests].map((request) => request.url())}`)
    const isDrawn = await page.evaluate(
      () =>
        new Promise((resolve) => {
          const look = () => {
            const moving = document.getAnimations().filter((one) => Number.isFinite(one.effect?.getComputedTiming().endTime))
            resolve(document.querySelector('.skeleton') === null && moving.length === 0)
          }
          requestAnimationFrame(() => setTimeout(look, 60))
        }),
    )
    quiet = isDrawn && page.openRequests.size === 0 ? quiet + 1 : 0
  }
}

/** Logs in as a person does. */
export async function logIn(page, demo, path = '/') {
  await page.goto(demo.gateway + path)
  await page.locator('input[type=password]').fill(demo.adminToken)
  await page.locator('button[type=submit]').click()
  await page.locator('main#main').waitFor()
}

/** Nothing sticks out sideways: what is wider than the window scrolls in a place of its own. */
export async function assertFits(page, where) {
  const [wide, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth])
  assert.ok(wide <= seen, `${where}: ${wide} px of ${seen}`)
}

/** No finding of axe that is serious or worse once nothing moves, as colours do, and nothing that the browser complained of. */
export async function assertAccessible(page, where) {
  await settled(page)
  await page.evaluate(`${AXE};0`)
  const found = await page.evaluate(async () => {
    const { violations } = await axe.run()
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(({ html }) => html.slice(0, 160)).join(' ')}`)
  })
  assert.deepEqual(found, [], where)
  assert.deepEqual(page.problems, [], where)
}
