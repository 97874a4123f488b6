// An operator's day: why a request failed, a setting that counts at once, a token that meets its limit, a talk in the
// playground.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before, it } from 'node:test'
import OpenAI from 'openai'
import { assertAccessible, logIn, openPage, startBrowser } from './browser.js'
import { startDemo } from './gateway.js'

let demo, browser, page
before(async () => {
  demo = await startDemo('--healthy', '--no-traffic')
  browser = await startBrowser()
  page = await openPage(browser)
  await logIn(page, demo)
})
after(async () => {
  await browser?.close()
  await demo?.stop()
})

it('tells at one look why a request failed', async () => {
  const failed = await fetch(`${demo.gateway}/v1beta/models/gemini-2.5-flash:generateContent`, {
    method: 'POST',
    headers: { 'x-goog-api-key': demo.token, 'content-type': 'application/json' },
    body: JSON.stringify({ contents: [] }),
  })
  assert.equal(failed.status, 400)
  const id = failed.headers.get('x-request-id')

  await page.goto(`${demo.gateway}/requests?status=error`)
  await page.locator('tbody button.open').first().click()
  await page.waitForURL((url) => url.searchParams.get('request') === id)
  const verdict = page.getByTestId('verdict')
  await verdict.waitFor()
  assert.match(await verdict.textContent(), /request itself was at fault/)
  await page.getByText('contents is not specified').first().waitFor()
  await page.getByText('keys ready').first().waitFor()
  await assertAccessible(page, 'a failed request')
})

it('changes a setting that counts for the next request', async () => {
  assert.equal((await demo.ask('Hello!', demo.token, 'nickname')).ok, false)
  await page.goto(`${demo.gateway}/settings?q=MODEL_ALIASES`)
  const row = page.locator('#setting-MODEL_ALIASES')
  await row.getByRole('button', { name: 'Add a line' }).click()
  await row.getByLabel('Name 1').fill('nickname')
  await row.getByLabel('Value of nickname').fill('gemini-2.5-flash')
  await page.getByRole('button', { name: 'Save', exact: true }).click()
  await page.getByText('Settings are saved').first().waitFor()
  assert.equal((await demo.ask('Hello!', demo.token, 'nickname')).status, 200)
  await row.getByText('dashboard').first().waitFor()
  await assertAccessible(page, 'a changed setting')
})

it('says what is wrong with a value while it is typed', async () => {
  await page.goto(`${demo.gateway}/settings?q=MAX_FAILURES`)
  const row = page.locator('#setting-MAX_FAILURES')
  await row.locator('input').fill('1000')
  await row.getByRole('alert').waitFor()
  assert.equal(await page.getByRole('button', { name: 'Save', exact: true }).isDisabled(), true)
  await row.getByRole('button', { name: 'Undo' }).click()
})

it('shows both values when somebody else was first', async () => {
  await page.goto(`${demo.gateway}/settings?q=MAX_FAILURES`)
  await page.locator('#setting-MAX_FAILURES input').fill('7')
  await demo.admin('PATCH', 'settings', { MAX_FAILURES: 9 })
  await page.getByRole('button', { name: 'Save', exact: true }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByText('Theirs, which holds now').waitFor()
  await dialog.getByRole('button', { name: 'Save mine' }).click()
  await page.getByText('Settings are saved').first().waitFor()
  const { items } = await demo.admin('GET', 'settings')
  assert.equal(items.find(({ name }) => name === 'MAX_FAILURES').value, 7)
})

it('tells the later one of two admins what the first has saved', async () => {
  const first = await openPage(browser)
  await logIn(first, demo)
  for (const [viewer, value] of [[first, '4'], [page, '6']]) {
    await viewer.goto(`${demo.gateway}/settings?q=MAX_RETRIES`)
    await viewer.locator('#setting-MAX_RETRIES input').fill(value)
  }
  await first.getByRole('button', { name: 'Save', exact: true }).click()
  await first.getByText('Settings are saved').first().waitFor()
  await page.getByRole('button', { name: 'Save', exact: true }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByText('Somebody else was first').waitFor()
  assert.deepEqual(await dialog.locator('pre').allTextContents(), ['4', '6'])
  await assertAccessible(page, 'a conflict')
  const held = async () => (await demo.admin('GET', 'settings')).items.find(({ name }) => name === 'MAX_RETRIES').value
  assert.equal(await held(), 4)
  await dialog.getByRole('button', { name: 'Take theirs' }).click()
  assert.equal(await page.locator('#setting-MAX_RETRIES input').inputValue(), '4')
  assert.equal(await held(), 4)
  await first.context().close()
})

it('tells that a secret was replaced meanwhile, and shows neither', async () => {
  await page.goto(`${demo.gateway}/settings?q=CUSTOM_HEADERS`)
  const row = page.locator('#setting-CUSTOM_HEADERS')
  await row.getByRole('button', { name: 'Enter' }).click()
  await row.getByRole('textbox').fill('{"X-Team": "mine"}')
  await demo.admin('PATCH', 'settings', { CUSTOM_HEADERS: { 'X-Team': 'theirs' } })
  await row.getByText('dashboard').first().waitFor()
  await page.getByRole('button', { name: 'Save', exact: true }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByText('Somebody else was first').waitFor()
  assert.deepEqual(await dialog.locator('pre').allTextContents(), ['hidden', 'hidden'])
  await dialog.getByRole('button', { name: 'Take theirs' }).click()
  await row.getByRole('button', { name: 'Replace' }).waitFor()
  await demo.admin('PATCH', 'settings', { CUSTOM_HEADERS: null })
})

it('exports the whole configuration, and shows what an import would do', async () => {
  await page.goto(`${demo.gateway}/settings`)
  await page.getByRole('button', { name: 'Export', exact: true }).click()
  const downloading = page.waitForEvent('download')
  await page.getByRole('button', { name: 'Download' }).click()
  const text = await readFile(await (await downloading).path(), 'utf8')
  const document = JSON.parse(text)
  assert.ok(document.keys.length > 0 && document.keys.every(({ key }) => key === undefined))
  assert.equal(text.includes(demo.token), false)

  document.settings.MAX_FAILURES = 11
  document.keys[0].label = 'From a file'
  document.keys.push({ masked: 'AIza…none', hash: '00' })
  await page.getByRole('button', { name: 'Import', exact: true }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByLabel('Or paste it here').fill(JSON.stringify(document))
  await dialog.getByRole('button', { name: 'Show what would change' }).click()
  await dialog.getByText('does not hold its secret').waitFor()
  assert.equal(await dialog.getByRole('button', { name: 'Import', exact: true }).isDisabled(), true)
  await assertAccessible(page, 'an import')
  document.keys.pop()
  await dialog.getByLabel('Or paste it here').fill(JSON.stringify(document))
  await dialog.getByRole('button', { name: 'Show what would change' }).click()
  await dialog.getByText('MAX_FAILURES').waitFor()
  await dialog.getByRole('button', { name: 'Import', exact: true }).click()
  await page.getByText('The configuration is imported').first().waitFor()
  const { items } = await demo.admin('GET', 'keys?q=From+a+file')
  assert.equal(items.length, 1)
})

it('makes a client token, shows it once, and holds it to its limit', async () => {
  await page.goto(`${demo.gateway}/clients`)
  await page.getByRole('button', { name: 'New client' }).first().click()
  await page.getByRole('textbox', { name: 'Name', exact: true }).fill('Research team')
  await page.getByLabel('Requests/day').fill('2')
  await page.getByRole('button', { name: 'Create token' }).click()
  const token = await page.getByTestId('new-token').textContent()
  await assertAccessible(page, 'a new token')
  await page.getByRole('button', { name: 'I have stored it' }).click()

  const client = new OpenAI({ baseURL: `${demo.gateway}/v1`, apiKey: token, maxRetries: 0 })
  const ask = () => client.chat.completions.create({ model: 'gemini-2.5-flash', messages: [{ role: 'user', content: 'Hi' }] })
  await ask()
  await ask()
  await assert.rejects(ask, OpenAI.RateLimitError)

  await page.reload()
  await page.getByText('2 / 2').waitFor()
  assert.equal((await page.content()).includes(token), false)

  const holder = await openPage(browser)
  await holder.goto(`${demo.gateway}/usage`)
  await holder.locator('input[type=password]').fill(token)
  await holder.locator('button[type=submit]').click()
  await holder.getByText('2 / 2').waitFor()
  await assertAccessible(holder, 'own use')
  await holder.context().close()
})

for (const dialect of ['openai', 'responses', 'anthropic', 'gemini']) {
  it(`talks in the playground: ${dialect}`, async () => {
    await page.goto(`${demo.gateway}/playground`)
    await page.getByLabel('Dialect').selectOption(dialect)
    await page.locator('#prompt').fill('[[thoughts]] What is balance?')
    await page.keyboard.press('Enter')
    await page.getByTestId('served-by').waitFor()
    assert.match(await page.getByRole('log').textContent(), /Thoughts.*You wrote: "What is balance\?"/s)
    await assertAccessible(page, `the playground in ${dialect}`)
  })
}
