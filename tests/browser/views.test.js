// Filters of the keys under a name: saved, applied, renamed, removed, and still there on the next visit.
import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { assertAccessible, logIn, openPage, startBrowser } from './browser.js'
import { startDemo } from './gateway.js'

let demo, browser, page
before(async () => {
  demo = await startDemo('--healthy', '--no-traffic')
  browser = await startBrowser()
  page = await openPage(browser)
  await logIn(page, demo, '/keys')
})
after(async () => {
  await browser?.close()
  await demo?.stop()
})

const popover = () => page.getByRole('dialog', { name: 'Views' })
const openViews = async () => {
  if (!(await popover().isVisible())) await page.getByRole('button', { name: 'Views', exact: true }).click()
  await popover().waitFor()
}
const named = (name) => popover().getByRole('button', { name, exact: true })

it('keeps what is filtered and ordered under a name, but not the key that is open', async () => {
  await page.goto(`${demo.gateway}/keys?state=active&q=demo&sort=-requests`)
  await openViews()
  await page.getByLabel('Name of the view').fill('Busy ones')
  await page.getByLabel('Name of the view').press('Enter')
  await named('Busy ones').waitFor()
  await assertAccessible(page, 'a saved view')
})

it('brings it back after a reload', async () => {
  await page.goto(`${demo.gateway}/keys`)
  await openViews()
  await named('Busy ones').click()
  await page.waitForURL((url) => url.search === '?state=active&q=demo&sort=-requests')
  await page.waitForFunction(() => document.querySelector('input[type=search]').value === 'demo')
  assert.equal(await page.getByRole('button', { name: /^Active/ }).getAttribute('aria-pressed'), 'true')
  assert.equal(await page.getByRole('columnheader', { name: 'Requests' }).getAttribute('aria-sort'), 'descending')
})

it('is saved anew under the same name', async () => {
  await page.getByRole('button', { name: /^Invalid/ }).click()
  await page.waitForURL(/state=active%2Cinvalid|state=active,invalid/)
  await openViews()
  await page.getByLabel('Name of the view').fill('Busy ones')
  await page.getByRole('button', { name: 'Save', exact: true }).click()
  assert.equal(await popover().getByRole('button', { name: 'Busy ones', exact: true }).count(), 1)
  await page.goto(`${demo.gateway}/keys`)
  await openViews()
  await named('Busy ones').click()
  await page.waitForURL(/state=active(%2C|,)invalid/)
})

it('takes another name, and goes when it is removed', async () => {
  await openViews()
  await named('Rename Busy ones').click()
  await page.getByLabel('New name of Busy ones').fill('Worth a look')
  await page.keyboard.press('Enter')
  await named('Worth a look').waitFor()
  await page.reload()
  await openViews()
  await named('Worth a look').waitFor()
  assert.equal(await named('Busy ones').count(), 0)

  await named('Remove Worth a look').click()
  await popover().getByText('Save the present filters').waitFor()
  await page.reload()
  await openViews()
  await popover().getByText('Save the present filters').waitFor()
})
