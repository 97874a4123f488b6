// Keys out of files: as they are exported elsewhere, large, and none of text.
import assert from 'node:assert/strict'
import { after, before, beforeEach, it } from 'node:test'
import { assertAccessible, logIn, openPage, startBrowser } from './browser.js'
import { startDemo } from './gateway.js'

const MANY = 20_000

let demo, browser, page
before(async () => {
  demo = await startDemo('--healthy', '--no-traffic')
  browser = await startBrowser()
  page = await openPage(browser)
  await logIn(page, demo, '/keys')
})
beforeEach(() => page.goto(`${demo.gateway}/keys?add=1`))
after(async () => {
  await browser?.close()
  await demo?.stop()
})

const key = (name) => `AIzaSy${name}${'f'.repeat(33 - name.length)}`
const file = (name, text) => ({ name, mimeType: 'application/octet-stream', buffer: Buffer.from(text) })
const dialog = () => page.getByRole('dialog', { name: 'Add keys' })
const choose = (...files) => dialog().locator('input[type=file]').setInputFiles(files)
const addButton = (count) => dialog().getByRole('button', { name: `Add ${count} key`, exact: false })

it('takes lines, a table and JSON at once, and shows which files they came from', async () => {
  await choose(
    file('lines.txt', `${key('txt1')}\n${key('txt2')}\n`),
    file('table.csv', `name;key\nmine;"${key('csv1')}"\n`),
    file('export.json', JSON.stringify({ accounts: [{ apiKey: key('json1') }, { apiKey: key('txt1') }] })),
  )
  const files = dialog().getByRole('list', { name: 'Files' }).getByRole('listitem')
  assert.deepEqual((await files.locator('.truncate').allTextContents()).sort(), ['export.json', 'lines.txt', 'table.csv'])
  await addButton('4').waitFor()
  await assertAccessible(page, 'files are chosen')

  await dialog().getByRole('button', { name: 'Remove table.csv' }).click()
  await addButton('3').click()
  await page.getByText('3 keys added').first().waitFor()
  assert.equal((await demo.admin('GET', 'keys?q=csv1')).total, 0)
  assert.equal((await demo.admin('GET', 'keys')).items.filter(({ origin }) => origin === 'admin').length, 3)
})

it('reads the same file again after it was mended', async () => {
  await choose(file('keys.txt', 'nothing yet'))
  await dialog().getByText('No key was found in this text.').waitFor()
  await choose(file('keys.txt', key('mended')))
  await addButton('1').waitFor()
  assert.equal(await dialog().getByRole('listitem').filter({ hasText: 'keys.txt' }).count(), 1)
})

it('says of a file that holds no text what to do', async () => {
  await choose({ name: 'keys.xlsx', mimeType: 'application/vnd.ms-excel', buffer: Buffer.from([0x50, 0x4b, 3, 4, 0, 0, 8, 0]) }, file('good.txt', key('good')))
  await dialog().getByRole('alert').getByText('keys.xlsx holds no text. A table has to be saved as CSV first.').waitFor()
  await addButton('1').waitFor()
})

it(`takes ${MANY} keys of one file`, async () => {
  const lines = Array.from({ length: MANY }, (_, index) => `${index},${key(`big${index}x`)},${'note '.repeat(20)}`)
  await choose(file('pool.csv', lines.join('\n')))
  await addButton('20,000').click()
  await page.getByText('20,000 keys added').first().waitFor()
  assert.equal(await page.getByLabel('Text with keys').count(), 0)
})
