// Keys as an operator handles them: many at once, and each as it trips and recovers.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { assertAccessible, logIn, openPage, startBrowser } from './browser.js'
import { startDemo } from './gateway.js'

const IMPORTED = 200
const names = Array.from({ length: IMPORTED }, (_, index) => `AIzaSy${String(index).padStart(4, '0')}${'x'.repeat(29)}`)

/** Far from UTC, and from every other zone that a machine may have: times are told in the viewer's own. */
const ZONE = 'Asia/Kathmandu'

let demo, browser, page
before(async () => {
  demo = await startDemo('--no-traffic', '--healthy')
  browser = await startBrowser()
  page = await openPage(browser, { timezoneId: ZONE })
  await logIn(page, demo, '/keys')
})
after(async () => {
  await browser?.close()
  await demo?.stop()
})

const chip = (name) => page.locator('.chip', { hasText: name })
const count = async (name) => Number((await chip(name).locator('b').innerText()).replaceAll(/\D/g, ''))

describe('the page of keys', () => {
  it('takes 200 keys out of a pasted text, and says beforehand what is in it', async () => {
    const known = await count('All')
    await page.getByRole('button', { name: 'Add keys' }).first().click()
    const text = names.map((name, index) => `${index}; account-${index}@example.com; "${name}",`).join('\n')
    await page.getByLabel('Text with keys').fill(`id; account; key\n${text}\n${names[0]}`)
    await page.getByRole('combobox', { name: 'Tags', exact: true }).fill('pasted,')
    await page.getByRole('button', { name: `Add ${IMPORTED} keys` }).click()

    await page.getByText(`${IMPORTED} keys added`).first().waitFor()
    await page.waitForFunction(
      (wanted) => document.querySelector('.chip b')?.textContent?.replaceAll(/\D/g, '') === String(wanted),
      known + IMPORTED,
    )
  })

  it('narrows the list by a word and by a tag, and keeps that in the address', async () => {
    await page.getByLabel('Search keys').fill('pasted')
    await page.waitForURL(/q=pasted/)
    await page.waitForFunction((rows) => document.querySelector('[role=grid]')?.getAttribute('aria-rowcount') === String(rows + 1), IMPORTED)
    await page.reload()
    assert.equal(await page.getByLabel('Search keys').inputValue(), 'pasted')
    await assertAccessible(page, 'filtered')
  })

  it('does not show other keys in place of those that could not be read', async () => {
    const isCooling = (url) => url.pathname.endsWith('/keys') && url.searchParams.get('state') === 'cooling'
    await page.route(isCooling, (route) => route.abort())
    await chip('Cooling').click()
    await page.getByText('This could not be loaded').waitFor()
    assert.equal(await page.getByRole('grid').count(), 0)

    await page.unroute(isCooling)
    await page.getByRole('button', { name: 'Try again' }).click()
    await page.getByText('No key matches').waitFor()
    await chip('Cooling').click()
    await page.waitForFunction((rows) => document.querySelector('[role=grid]')?.getAttribute('aria-rowcount') === String(rows + 1), IMPORTED)
  })

  it('takes a single key out of all', async () => {
    await page.getByLabel('Select all keys of this filter').check()
    await page.locator('.row-line input[type=checkbox]').first().uncheck()
    const bar = page.getByRole('region', { name: 'Actions for the selected keys' })
    // The rest of the first page, as no more was looked at.
    await bar.getByText('99 keys selected').waitFor()
    await bar.getByRole('button', { name: 'Clear selection' }).click()
    await bar.waitFor({ state: 'detached' })
  })

  it('disables all that the filter shows, with progress, and takes that back', async () => {
    await page.getByLabel('Select all keys of this filter').check()
    await page.getByRole('button', { name: 'Disable', exact: true }).click()
    await page.getByRole('menuitem', { name: 'Until enabled again' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Disable' }).click()
    const job = page.locator('.job').first()
    await job.getByText(`${IMPORTED} of ${IMPORTED}`).waitFor()
    await page.waitForFunction((wanted) => [...document.querySelectorAll('.chip')].some((one) => one.textContent.includes('Disabled') && one.textContent.includes(String(wanted))), IMPORTED)

    await job.getByRole('button', { name: 'Undo' }).click()
    await page.waitForFunction(() => [...document.querySelectorAll('.chip')].some((one) => /Disabled\s*0/.test(one.textContent)))
  })

  it('shows a key fall and recover while one looks at it', async () => {
    await demo.admin('POST', 'keys/actions', { action: 'disable', filter: {} })
    const { items } = await demo.admin('GET', 'keys?limit=500')
    const [key] = items.filter(({ origin }) => origin === 'config')
    const { key: secret } = await demo.admin('POST', `keys/${key.id}/reveal`)
    await demo.admin('PATCH', `keys/${key.id}`, { state: 'active' })
    await page.goto(`${demo.gateway}/keys?key=${key.id}`)
    const badge = page.getByRole('dialog').locator('.subtitle .badge')
    await badge.getByText('Active').waitFor()

    await demo.behave(secret, { faults: [{ fault: { refuse: 'invalid_key' } }] })
    await demo.ask()
    await badge.getByText('Invalid').waitFor()

    await demo.behave(secret, {})
    await page.getByRole('dialog').getByRole('button', { name: /Actions for/ }).click()
    await page.getByRole('menuitem', { name: 'Verify' }).click()
    await page.getByText('The key works', { exact: true }).waitFor()
    await badge.getByText('Active').waitFor()
    assert.equal((await demo.ask()).status, 200)
    await assertAccessible(page, 'details of a key')
  })

  it('tells what has happened to a key, why, and on whose account', async () => {
    await page.getByRole('dialog').getByRole('tab', { name: 'History' }).click()
    const items = page.getByRole('dialog').getByRole('list', { name: 'History' }).getByRole('listitem')
    const fallen = items.filter({ hasText: 'Google does not know it' }).filter({ hasText: 'by a request' })
    await fallen.first().waitFor()
    await items.first().getByText('by an operator').waitFor()
    assert.match(await items.first().innerText(), /Active[\s\S]*Google was asked about it[\s\S]*by an operator/)
    assert.match(await items.last().innerText(), /Added[\s\S]*by API_KEYS/)
    const shown = await fallen.first().locator('time').innerText()
    const at = await fallen.first().locator('time').getAttribute('datetime')
    assert.ok(shown.includes(new Date(at).toLocaleTimeString('en', { hourCycle: 'h23', timeZone: ZONE })), `${shown} is not ${at} in ${ZONE}`)
    await assertAccessible(page, 'history of a key')
    await page.keyboard.press('Escape')
  })

  it('shows the latest changes on the overview also to whoever comes later', async () => {
    await page.goto(demo.gateway)
    const card = page.locator('section', { hasText: 'State changes' }).last()
    await card.getByText('Invalid').first().waitFor()
  })

  it('takes a deletion back from the notice, and a key that was switched off as well', async () => {
    const [known] = (await demo.admin('GET', 'keys?tag=pasted&limit=1')).items
    await page.goto(`${demo.gateway}/keys?q=${known.id}`)
    const actions = page.getByRole('button', { name: /Actions for/ })
    await page.waitForFunction(() => document.querySelector('[role=grid]')?.getAttribute('aria-rowcount') === '2')

    await actions.first().click()
    await page.getByRole('menuitem', { name: 'Delete' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
    await page.getByText('No key matches').waitFor()
    await page.locator('.toast').getByRole('button', { name: 'Undo' }).last().click()
    await page.waitForFunction(() => document.querySelector('[role=grid]')?.getAttribute('aria-rowcount') === '2')
    const back = await demo.admin('GET', `keys/${known.id}`)
    assert.deepEqual([back.id, back.created_at_ms], [known.id, known.created_at_ms])

    const stateOf = async () => (await demo.admin('GET', `keys/${known.id}`)).state
    const before = await stateOf()
    await actions.first().click()
    await page.getByRole('menuitem', { name: before === 'disabled' ? 'Enable' : 'Disable', exact: true }).click()
    await page.locator('.toast').getByRole('button', { name: 'Undo' }).last().click()
    await page.waitForFunction(
      async ([url, token, id, wanted]) => {
        const answer = await fetch(`${url}/api/admin/keys/${id}`, { headers: { authorization: `Bearer ${token}` } })
        return (await answer.json()).state === wanted
      },
      [demo.gateway, demo.adminToken, known.id, before],
    )
  })

  /** The one key that is in use, which Google refuses from now on and has just refused. */
  async function refusedKey() {
    const [key] = (await demo.admin('GET', 'keys?state=active')).items
    const { key: secret } = await demo.admin('POST', `keys/${key.id}/reveal`)
    await demo.behave(secret, { faults: [{ fault: { refuse: 'invalid_key' } }] })
    await demo.ask()
    return { id: key.id, secret }
  }

  it('mends from the overview what needs attention, and says what came of it', async () => {
    const { id, secret } = await refusedKey()
    await page.goto(demo.gateway)
    const card = page.locator('section.card', { has: page.getByRole('heading', { name: 'Needs attention' }) })
    await card.getByText('1 key is invalid').waitFor()
    await card.getByRole('button', { name: 'Delete' }).click()
    await page.getByRole('dialog').getByText('the deletion can be undone').waitFor()
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click()

    await demo.behave(secret, {})
    await card.getByRole('button', { name: 'Verify' }).click()
    const job = page.locator('.job').first()
    await job.getByText('1 of 1').waitFor()
    await job.getByText('1 accepted').waitFor()
    await card.getByText('1 key is invalid').waitFor({ state: 'detached' })
    assert.equal((await demo.admin('GET', `keys/${id}`)).state, 'active')
    await assertAccessible(page, 'a job on the overview')
  })

  it('acts on all keys of a state, and on no other', async () => {
    const { id } = await refusedKey()
    await page.goto(`${demo.gateway}/keys`)
    await chip('Invalid').click()
    await page.waitForURL(/state=invalid/)
    await page.waitForFunction(() => document.querySelector('[role=grid]')?.getAttribute('aria-rowcount') === '2')
    await page.getByLabel('Select all keys of this filter').check()
    const bar = page.getByRole('region', { name: 'Actions for the selected keys' })
    await bar.getByText('1 key selected').waitFor()
    await bar.getByRole('button', { name: 'Disable', exact: true }).click()
    await page.getByRole('menuitem', { name: 'Until enabled again' }).click()
    const job = page.locator('.job').first()
    await job.getByText('1 of 1').waitFor()
    await job.getByText('1 disabled').waitFor()
    await page.getByText('No key matches').waitFor()
    assert.equal((await demo.admin('GET', `keys/${id}`)).state, 'disabled')
  })
})
