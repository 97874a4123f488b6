// The stream of events opens after a page has read what it shows: what happened in between is shown all the same.
import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { logIn, openPage, settled, startBrowser } from './browser.js'
import { startDemo } from './gateway.js'

const PATIENCE_MS = 30_000

let demo, browser
before(async () => {
  demo = await startDemo('--healthy', '--no-traffic')
  browser = await startBrowser()
})
after(async () => {
  await browser?.close()
  await demo?.stop()
})

/** A page whose stream does not open before `open` is called. */
async function pageWithLateStream() {
  const page = await openPage(browser)
  let open
  const gate = new Promise((resolve) => (open = resolve))
  await page.route('**/api/admin/events*', async (route) => {
    await gate
    await route.continue().catch(() => {})
  })
  return { page, open }
}

async function eventually(claim) {
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 100))) if (await claim()) return
  assert.fail('it did not come to that')
}

it('tells of a key that was switched off meanwhile', async () => {
  const { page, open } = await pageWithLateStream()
  await logIn(page, demo)
  const card = page.locator('section.card', { has: page.getByRole('heading', { name: 'State changes' }) })
  await card.waitFor()
  await settled(page)
  assert.equal(await card.getByText('Disabled').count(), 0)

  const { items } = await demo.admin('GET', 'keys?limit=1')
  await demo.admin('PATCH', `keys/${items[0].id}`, { state: 'disabled' })
  await eventually(async () => (await demo.admin('GET', 'keys/events?kind=state')).items.some(({ to }) => to === 'disabled'))
  open()
  await card.getByText('Disabled').waitFor()
  await page.context().close()
})
