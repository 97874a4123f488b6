// What strangers write is shown as they wrote it: never as markup, never as a formula of a spreadsheet.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, it } from 'node:test'
import { assertAccessible, logIn, openPage, settled, startBrowser } from './browser.js'
import { startDemo } from './gateway.js'

const MARKUP = `<img src=x onerror="window.hit='yes'">`
const SCRIPT = `"><script>window.hit='yes'</script>`
const FORMULAS = ['=HYPERLINK("http://example.com","go")', '+1+1', '@SUM(A1)', '＝1+1']

let demo, browser, page
before(async () => {
  demo = await startDemo('--healthy', '--no-traffic')
  const { items } = await demo.admin('GET', 'keys?limit=10')
  await demo.admin('PATCH', `keys/${items[0].id}`, { label: MARKUP, tags: [SCRIPT] })
  for (const [index, label] of FORMULAS.entries()) await demo.admin('PATCH', `keys/${items[index + 1].id}`, { label })
  await demo.admin('POST', 'tokens', { name: MARKUP, note: SCRIPT })
  await demo.ask('Hi', demo.token, MARKUP)
  await demo.ask('Hi', demo.token, FORMULAS[0])
  await demo.ask(MARKUP)
  browser = await startBrowser()
  page = await openPage(browser)
  await logIn(page, demo, '/keys')
})
after(async () => {
  await browser?.close()
  await demo?.stop()
})

/** Nothing of it became an element or ran. */
async function assertHarmless(where) {
  await settled(page)
  assert.equal(await page.evaluate(() => window.hit), undefined, where)
  assert.equal(await page.locator('img[src="x"], main script').count(), 0, where)
  assert.deepEqual(page.problems, [], where)
}

it('shows labels, tags and projects of keys as text', async () => {
  await page.getByText(MARKUP, { exact: true }).first().waitFor()
  await page.locator('.row-line').getByText(SCRIPT, { exact: true }).first().waitFor()
  await assertHarmless('the table of keys')
  await page.locator('.row-line button.name', { hasText: MARKUP }).click()
  const drawer = page.getByRole('dialog', { name: MARKUP })
  for (const tab of ['History', 'Usage', 'Errors', 'Edit', 'State']) await drawer.getByRole('tab', { name: tab }).click()
  await assertHarmless('the details of a key')
  await assertAccessible(page, 'hostile labels')
  await page.keyboard.press('Escape')
})

it('asks before a deletion in the same words', async () => {
  await page.getByRole('button', { name: `Actions for ${MARKUP}` }).click()
  await page.getByRole('menuitem', { name: 'Delete' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click()
  await assertHarmless('the question')
})

it('shows names of models, clients and errors as text', async () => {
  await page.goto(`${demo.gateway}/requests?range=1h`)
  await page.locator('tbody tr').nth(2).waitFor()
  await assertHarmless('the log')
  await page.locator('tbody button.open').last().click()
  await page.getByTestId('verdict').waitFor()
  await assertHarmless('a request')
  for (const path of ['?range=1h', 'errors?range=1h', 'models', 'system']) {
    await page.goto(`${demo.gateway}/${path}`)
    await page.locator('h1').first().waitFor()
    await assertHarmless(path)
  }
  await page.goto(`${demo.gateway}/clients`)
  await page.getByText(MARKUP, { exact: true }).first().waitFor()
  await assertHarmless('clients')
})

it('shows what a model writes without its markup', async () => {
  await page.goto(`${demo.gateway}/playground`)
  await page.locator('#prompt').fill(`${MARKUP} [x](javascript:window.hit='yes') <script>window.hit='yes'</script>`)
  await page.keyboard.press('Enter')
  await page.getByTestId('served-by').waitFor()
  await page.getByRole('log').getByText(MARKUP).nth(1).waitFor()
  assert.equal(await page.locator('[role=log] a[href^="javascript"]').count(), 0)
  await assertHarmless('the playground')
})

for (const [what, path, button, item] of [['keys', 'keys', 'Export', 'CSV'], ['requests', 'requests?range=1h', 'More actions', 'Export as CSV']]) {
  it(`saves ${what} without a formula`, async () => {
    await page.goto(`${demo.gateway}/${path}`)
    await page.getByRole('button', { name: button, exact: true }).first().click()
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('menuitem', { name: item }).click()])
    const text = readFileSync(await download.path(), 'utf8')
    assert.ok(text.split('\n').length > 3, text)
    assert.doesNotMatch(text, /(^|[,\n])"?[=+@＝]/)
    for (const formula of what === 'keys' ? FORMULAS : []) {
      assert.ok(text.includes(`"'${formula.replaceAll('"', '""')}"`), `${formula} in ${text}`)
    }
  })
}
