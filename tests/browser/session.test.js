// Coming in, getting around, and going out again.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { DESKTOP, PHONE, assertAccessible, logIn, openPage, startBrowser } from './browser.js'
import { startDemo } from './gateway.js'

let demo, browser
before(async () => {
  demo = await startDemo()
  browser = await startBrowser()
})
after(async () => {
  await browser?.close()
  await demo?.stop()
})

describe('a session', () => {
  it('begins with the right token alone, where one wanted to go', async () => {
    const page = await openPage(browser)
    await page.goto(`${demo.gateway}/keys?state=invalid`)
    await page.waitForURL(/\/login/)
    await page.locator('input[type=password]').fill('not-the-token')
    await page.getByRole('button', { name: 'Log in' }).click()
    await page.getByText('This is not the admin token').waitFor()

    await page.locator('input[type=password]').fill(demo.adminToken)
    await page.getByRole('button', { name: 'Log in' }).click()
    await page.waitForURL(/\/keys\?state=invalid/)
    const cookies = await page.context().cookies()
    const session = cookies.find(({ name }) => name === 'gb_session')
    assert.deepEqual([session?.httpOnly, session?.sameSite], [true, 'Strict'])

    await page.getByRole('button', { name: 'Log out' }).click()
    await page.waitForURL(/\/login/)
    await page.goto(`${demo.gateway}/`)
    await page.waitForURL(/\/login/)
  })

  it('shows other themes and other languages, and remembers these', async () => {
    const page = await openPage(browser)
    await logIn(page, demo)
    await page.getByRole('button', { name: 'Theme' }).click()
    await page.getByRole('menuitem', { name: 'Dark' }).click()
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark')
    await page.getByRole('button', { name: 'Language' }).click()
    await page.getByRole('menuitem', { name: '简体中文' }).click()
    await page.getByRole('heading', { name: '概览' }).waitFor()

    await page.reload()
    await page.getByRole('heading', { name: '概览' }).waitFor()
    assert.deepEqual(await page.evaluate(() => [document.documentElement.dataset.theme, document.documentElement.lang]), ['dark', 'zh-CN'])
    await assertAccessible(page, 'dark, Chinese')
  })

  it('is led by the keyboard', async () => {
    const page = await openPage(browser, { viewport: DESKTOP })
    await logIn(page, demo)
    await page.locator('body').press('?')
    await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor()
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    await page.keyboard.press('g')
    await page.keyboard.press('k')
    await page.waitForURL(/\/keys/)
    await page.keyboard.press('/')
    assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('type')), 'search')
  })

  it('fits a phone, with its navigation in a drawer', async () => {
    const page = await openPage(browser, { viewport: PHONE })
    await logIn(page, demo)
    const width = await page.evaluate(() => document.documentElement.scrollWidth)
    assert.ok(width <= PHONE.width, `the page is ${width} px wide`)
    await page.getByRole('button', { name: 'Open the navigation' }).click()
    await page.getByRole('dialog').getByRole('link', { name: 'Keys' }).click()
    await page.waitForURL(/\/keys/)
    await assertAccessible(page, 'phone')
  })

  it('needs at most 350 KB of compressed script for the first view', async () => {
    const page = await openPage(browser)
    const sizes = []
    page.on('response', async (response) => {
      if (response.url().endsWith('.js')) sizes.push(response.request().sizes().then(({ responseBodySize }) => responseBodySize))
    })
    await logIn(page, demo)
    await page.waitForLoadState('load')
    const total = (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
    assert.ok(total > 0 && total <= 350_000, `${total} bytes`)
  })
})
