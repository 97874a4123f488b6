// The first visit to a gateway that has nothing: from a pasted key to the first answer, without leaving the page.
import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { VIEWS, assertAccessible, assertFits, logIn, nameOf, openPage, settled, startBrowser } from './browser.js'
import { startDemo, startEmpty } from './gateway.js'

const GOOD = `AIzaSyGood${'x'.repeat(29)}`
const REFUSED = `AIzaSyRefused${'x'.repeat(26)}`

let demo, gateway, browser, page
before(async () => {
  demo = await startDemo('--healthy', '--no-traffic')
  await demo.behave(GOOD, {})
  await demo.behave(REFUSED, { faults: [{ fault: { refuse: 'invalid_key' } }] })
  gateway = await startEmpty(demo.sim)
  browser = await startBrowser()
  page = await openPage(browser)
  await logIn(page, gateway)
})
after(async () => {
  await browser?.close()
  await gateway?.stop()
  await demo?.stop()
})

/** The guide as it stands, for every viewer: nothing sticks out, axe finds nothing, and there is a picture. */
async function lookAtGuide(what) {
  for (const view of VIEWS) {
    const viewer = await openPage(browser, view)
    // As somebody who has begun: before there is a key everybody has.
    await viewer.addInitScript(() => localStorage.setItem('gemini-balance.setup.begun', 'true'))
    await logIn(viewer, gateway)
    await viewer.locator('li[aria-current=step]').waitFor()
    await settled(viewer)
    await viewer.screenshot({ path: `${process.env.SCREENSHOTS}/guide-${what}-${nameOf(view)}.png`, fullPage: true })
    await assertFits(viewer, nameOf(view))
    await assertAccessible(viewer, `${what}, ${nameOf(view)}`)
    await viewer.context().close()
  }
}

const step = (name) => page.locator('li[aria-current=step]', { hasText: name })

it('looks well to everybody who comes first', () => lookAtGuide('keys'))

it('asks for keys first, and says what is in a pasted text', async () => {
  await step('Add Gemini API keys').waitFor()
  assert.equal(await page.getByText('Requests over time').count(), 0)
  await assertAccessible(page, 'nothing done yet')
  await page.getByLabel('Text with keys').fill(`1; me@example.com; "${REFUSED}"`)
  await page.getByText('1 new key found').waitFor()
})

it('tells that a key does not work, and goes on with one that does', async () => {
  await page.getByRole('button', { name: 'Add and verify' }).click()
  await page.getByText('Google accepts none of these keys').waitFor()
  await step('Add Gemini API keys').waitFor()

  await page.getByLabel('Text with keys').fill(`${REFUSED}\n${GOOD}`)
  await page.getByRole('button', { name: 'Add and verify' }).click()
  await page.getByText('The key works').waitFor()
  await step('Create a token for your client').waitFor()
  await page.reload()
  await step('Create a token for your client').waitFor()
})

it('looks well to everybody who goes on from there', () => lookAtGuide('token'))

it('makes a client token, and puts it into code that works as it is copied', async () => {
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
  await page.getByRole('button', { name: 'Create a token' }).click()
  const token = await page.getByTestId('new-token').textContent()
  await step('Send the first request').waitFor()

  await page.getByRole('region', { name: 'curl' }).locator('..').getByRole('button', { name: 'Copy' }).click()
  const command = await page.evaluate(() => navigator.clipboard.readText())
  assert.ok(command.includes(`Bearer ${token}`) && command.includes(`${gateway.gateway}/v1/chat/completions`), command)
  await assertAccessible(page, 'a token was made')
})

it('sends the first request and leads on to the overview', async () => {
  await page.getByRole('button', { name: 'Send it from here' }).click()
  assert.match(await page.getByTestId('first-answer').textContent(), /Say hello/)
  await page.getByText('It works: gemini-2.5-flash answered').waitFor()
  await assertAccessible(page, 'all done')
  await page.screenshot({ path: `${process.env.SCREENSHOTS}/guide-done.png`, fullPage: true })

  await page.getByRole('button', { name: 'To the overview' }).click()
  await page.getByText('Requests over time').waitFor()
  await page.reload()
  await page.getByText('Requests over time').waitFor()
})
