// Every page in both themes, both languages and on a phone: nothing breaks or sticks out, axe finds nothing serious, and
// pictures are taken for people to look at.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { VIEWS, assertAccessible, assertFits, logIn, nameOf, openPage, settled, startBrowser } from './browser.js'
import { startDemo } from './gateway.js'

const PAGES = ['', 'keys', 'requests', 'errors', 'clients', 'models', 'playground', 'settings', 'system', 'docs']
/** What a page says in place of data that its request did not bring. */
const NOT_LOADED = ['This could not be loaded', '加载失败']

let demo, browser
before(async () => {
  demo = await startDemo()
  browser = await startBrowser()
})
after(async () => {
  await browser?.close()
  await demo?.stop()
})

for (const view of VIEWS) {
  const name = nameOf(view)
  describe(name, () => {
    let page
    before(async () => {
      page = await openPage(browser, view)
      await page.goto(`${demo.gateway}/login`)
      await page.locator('input[type=password]').waitFor()
      await page.screenshot({ path: `${process.env.SCREENSHOTS}/login-${name}.png` })
      await assertFits(page, 'login')
      await assertAccessible(page, 'login')
      await logIn(page, demo)
    })
    after(() => page?.context().close())

    for (const path of PAGES) {
      it(path || 'overview', async () => {
        await page.goto(`${demo.gateway}/${path}`)
        await page.locator('h1').first().waitFor()
        await settled(page)
        await page.screenshot({ path: `${process.env.SCREENSHOTS}/${path || 'overview'}-${name}.png`, fullPage: true })
        await assertFits(page, path)
        await assertAccessible(page, path)
        const text = await page.locator('body').innerText()
        for (const words of NOT_LOADED) assert.ok(!text.includes(words), `${path}: ${words}`)
      })
    }
  })
}
