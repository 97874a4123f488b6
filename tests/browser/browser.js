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
export const DESKTOP = { width: 1440, height: 900 }
export const PHONE = { width: 390, height: 844 }

export const startBrowser = () => chromium.launch({ executablePath: process.env.CHROMIUM, args: ARGUMENTS })

/** A page of its own, with a viewer's tastes; what goes wrong in it is kept in `page.problems`. */
export async function openPage(browser, { theme = 'light', locale = 'en', viewport = DESKTOP } = {}) {
  const context = await browser.newContext({ viewport, locale, acceptDownloads: true })
  context.setDefaultTimeout(15_000)
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
  page.on('pageerror', (error) => page.problems.push(error.message))
  page.on('console', (message) => {
    // What the server refuses is shown to the viewer; the browser notes it as well.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) page.problems.push(message.text())
  })
  return page
}

/** Logs in as a person does. */
export async function logIn(page, demo, path = '/') {
  await page.goto(demo.gateway + path)
  await page.locator('input[type=password]').fill(demo.adminToken)
  await page.locator('button[type=submit]').click()
  await page.locator('main#main').waitFor()
}

/** No finding of axe that is serious or worse, and nothing that the browser complained of. */
export async function assertAccessible(page, where) {
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
