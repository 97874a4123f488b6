// What a screen reader is told: charts in words, how many rows there are, how far a job is, and notices.
import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { logIn, openPage, startBrowser } from './browser.js'
import { startDemo } from './gateway.js'

let demo, browser, page
before(async () => {
  demo = await startDemo('--healthy', '--no-traffic')
  await demo.ask()
  browser = await startBrowser()
  page = await openPage(browser)
  await logIn(page, demo)
})
after(async () => {
  await browser?.close()
  await demo?.stop()
})

/** Keeps all that a polite region has said from now on. */
const listen = () =>
  page.evaluate(() => {
    window.said = []
    const note = () => document.querySelectorAll('[role=status], [aria-live]').forEach((region) => region.textContent.trim() && window.said.push(region.textContent.trim()))
    new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true })
  })
const saidOf = (pattern) => page.waitForFunction((source) => window.said.some((text) => new RegExp(source).test(text)), pattern.source)

it('has every chart in words', async () => {
  await page.goto(`${demo.gateway}/?range=1h`)
  await page.locator('.plot').first().waitFor()
  const charts = page.getByRole('img', { name: 'Requests over time' })
  await page.waitForFunction(() => /gemini-2\.5-flash: 1 at last, between 0 and 1/.test(document.querySelector('figcaption')?.textContent ?? ''))
  const described = await charts.getAttribute('aria-describedby')
  assert.match(await page.locator(`[id="${described}"]`).textContent(), /^\s*From .+ to .+\./)
  const silent = await page.evaluate(() => [...document.querySelectorAll('.plot')].filter((plot) => !document.getElementById(plot.getAttribute('aria-describedby'))?.textContent.trim()).length)
  assert.equal(silent, 0)
})

it('says how many keys a filter leaves', async () => {
  await page.goto(`${demo.gateway}/keys`)
  await page.locator('.row-line').first().waitFor()
  const { total } = await demo.admin('GET', 'keys')
  await page.getByRole('status').getByText(`${total} keys in the list`).waitFor({ state: 'attached' })
  assert.equal(await page.getByRole('grid', { name: 'Keys' }).getAttribute('aria-rowcount'), String(total + 1))
  await listen()
  await page.getByLabel('Search keys').fill('#none of them')
  await saidOf(/^no keys in the list$/)
})

it('says how a job begins and ends, in few words', async () => {
  await page.goto(`${demo.gateway}/keys`)
  await page.locator('.row-line').first().waitFor()
  const { total } = await demo.admin('GET', 'keys')
  await listen()
  await page.getByLabel('Select all keys of this filter').check()
  await page.getByRole('button', { name: 'Disable', exact: true }).click()
  await page.getByRole('menuitem', { name: 'Until enabled again' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Disable' }).click()
  await saidOf(new RegExp(`^Disable: ${total} keys · ${total} disabled$`))
  await page.getByRole('button', { name: 'Undo' }).first().waitFor()
  const told = await page.evaluate(() => [...new Set(window.said.filter((text) => text.startsWith('Disable')))])
  assert.ok(told.length <= 7, told.join('\n'))
})
