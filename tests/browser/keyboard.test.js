// The table of keys without a mouse.
import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { assertAccessible, logIn, openPage, settled, startBrowser } from './browser.js'
import { startDemo } from './gateway.js'

const KEYS = 1_000

let demo, browser, page
before(async () => {
  demo = await startDemo('--healthy', '--no-traffic')
  const keys = Array.from({ length: KEYS }, (_, index) => `AIzaSy${String(index).padStart(6, '0')}${'k'.repeat(27)}`)
  await demo.admin('POST', 'keys', { keys, tags: ['typed'] })
  browser = await startBrowser()
  page = await openPage(browser)
  await logIn(page, demo, '/keys?tag=typed')
  await page.locator('.row-line button.name').first().waitFor()
})
after(async () => {
  await browser?.close()
  await demo?.stop()
})

/** Which row has the focus, counted from one; 0 for none. */
const focused = () => page.evaluate(() => Number(document.activeElement?.matches('[role=row]') && document.activeElement.getAttribute('aria-rowindex')) - 1)
const press = async (...keys) => {
  for (const key of keys) await page.keyboard.press(key)
}
const reach = (row) => page.waitForFunction((index) => document.activeElement?.getAttribute('aria-rowindex') === String(index), row + 1)

it('is one stop of Tab, whose rows the arrows walk', async () => {
  await page.getByRole('button', { name: 'Last used' }).focus()
  await press('Tab')
  assert.equal(await focused(), 1)
  await press('ArrowDown', 'ArrowDown', 'ArrowUp')
  await reach(2)
  assert.equal(await page.locator('[role=row][tabindex="0"]').count(), 1)
  await assertAccessible(page, 'a row has the focus')
})

it('goes by pages, to the last of all rows and back', async () => {
  await press('End')
  await reach(KEYS)
  await page.locator(`[role=row][aria-rowindex="${KEYS + 1}"] button.name`).waitFor()
  await press('ArrowUp')
  await reach(KEYS - 1)
  await press('Home', 'PageDown')
  await page.waitForFunction(() => Number(document.activeElement?.getAttribute('aria-rowindex')) > 5)
  const box = await page.locator(':focus').boundingBox()
  const table = await page.locator('[role=grid]').locator('..').boundingBox()
  assert.ok(box.y >= table.y + 38 && box.y + box.height <= table.y + table.height + 1, 'the row is in sight')
  await press('Home')
  await reach(1)
  for (let row = 2; row <= 30; row++) {
    await press('ArrowDown')
    await reach(row)
  }
  const last = await page.locator(':focus').boundingBox()
  assert.ok(last.y + last.height <= table.y + table.height + 1, 'the row is not cut off')
  await press('Home')
  await reach(1)
})

it('selects with Space, and says so', async () => {
  await press('Space', 'ArrowDown', 'ArrowDown', 'Space')
  assert.equal(await page.locator('[role=row][aria-rowindex="4"]').getAttribute('aria-selected'), 'true')
  await page.getByRole('region', { name: 'Actions for the selected keys' }).getByText('2 keys selected').waitFor()
  await press('Space')
  await page.getByText('1 key selected').waitFor()
  assert.equal(await page.locator('[role=row][aria-rowindex="4"]').getAttribute('aria-selected'), 'false')
})

it('opens with Enter, and comes back to the row with Escape', async () => {
  await press('Enter')
  const drawer = page.getByRole('dialog')
  await drawer.getByRole('tab', { name: 'History' }).waitFor()
  await settled(page)
  await press('Escape')
  await drawer.waitFor({ state: 'detached' })
  await reach(3)
})

it('lets Tab into the row that has the focus, and its menu come back to it', async () => {
  await press('Tab')
  assert.equal(await page.evaluate(() => document.activeElement.closest('[role=row]')?.getAttribute('aria-rowindex')), '4')
  assert.equal(await page.evaluate(() => document.activeElement.type), 'checkbox')
  await press('Tab', 'Tab')
  await press('Enter')
  await page.getByRole('menuitem', { name: 'Details' }).waitFor()
  await press('Escape')
  await page.getByRole('menu').waitFor({ state: 'detached' })
  await page.waitForFunction(() => document.activeElement?.matches('[role=row][aria-rowindex="4"] button'))
})
