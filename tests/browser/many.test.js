// A pool of many thousand keys: the page makes only the rows in sight, and scrolls without stutter.
import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { logIn, openPage, startBrowser } from './browser.js'
import { startDemo } from './gateway.js'

const KEYS = Number(process.env.MANY_KEYS ?? 20_000)
const AT_ONCE = 5_000
const SCROLLED_MS = 3_000
const MOST_ROWS = 60
/** A frame this long is seen. On a machine that does other work some are, so that their share is bounded, not their number. */
const LONG_MS = 50
const MOST_LONG = 0.1

let demo, browser, page
before(async () => {
  demo = await startDemo('--healthy', '--no-traffic')
  for (let from = 0; from < KEYS; from += AT_ONCE) {
    const names = Array.from({ length: Math.min(AT_ONCE, KEYS - from) }, (_, index) => `AIzaSy${String(from + index).padStart(8, '0')}${'m'.repeat(25)}`)
    const { added } = await demo.admin('POST', 'keys', { keys: names, tags: ['many'] })
    assert.equal(added, names.length)
  }
  browser = await startBrowser()
  page = await openPage(browser)
  await logIn(page, demo, '/keys?tag=many')
  await page.locator('.row-line button.name').first().waitFor()
})
after(async () => {
  await browser?.close()
  await demo?.stop()
})

/** Scrolls by so many pixels each frame; how long the frames took, and the most rows that there were at once. */
const scroll = (step) =>
  page.evaluate(
    ([step, lastsMs]) =>
      new Promise((resolve) => {
        const box = document.querySelector('[role=group]:has([role=grid])')
        box.scrollTop = 0
        const frames = []
        let [rows, begin, last] = [0, 0, 0]
        const tick = (now) => {
          if (begin) frames.push(now - last)
          else begin = now
          last = now
          rows = Math.max(rows, document.querySelectorAll('[role=row]').length)
          box.scrollTop += step
          if (now - begin < lastsMs) requestAnimationFrame(tick)
          else resolve({ frames: frames.sort((a, b) => a - b), rows })
        }
        requestAnimationFrame(tick)
      }),
    [step, SCROLLED_MS],
  )

it(`knows all ${KEYS} keys and makes few rows`, async () => {
  assert.equal(await page.locator('[role=grid]').getAttribute('aria-rowcount'), String(KEYS + 1))
  const rows = await page.locator('[role=row]').count()
  assert.ok(rows > 5 && rows <= MOST_ROWS, `${rows} rows`)
})

for (const [name, step] of [['slowly', 40], ['by the wheel', 240], ['to the end', 4_000]]) {
  it(`scrolls ${name} without stutter`, async (test) => {
    const { frames, rows } = await scroll(step)
    const long = frames.filter((ms) => ms > LONG_MS).length
    const figures = `${frames.length} frames, ${long} over ${LONG_MS} ms, median ${frames[frames.length >> 1].toFixed(1)} ms, longest ${frames.at(-1).toFixed(0)} ms, ${rows} rows`
    test.diagnostic(figures)
    assert.ok(rows <= MOST_ROWS, figures)
    assert.ok(long <= frames.length * MOST_LONG, figures)
  })
}

it('fills the rows where the scrolling ends', async () => {
  await page.evaluate(() => {
    const box = document.querySelector('[role=group]:has([role=grid])')
    box.scrollTop = box.scrollHeight
  })
  await page.locator(`[role=row][aria-rowindex="${KEYS + 1}"] button.name`).waitFor()
})

it('acts on a row that was scrolled to', async () => {
  const row = page.locator(`[role=row][aria-rowindex="${KEYS + 1}"]`)
  await row.getByRole('button', { name: /Actions for/ }).click()
  await page.getByRole('menuitem', { name: 'Details' }).click()
  await page.getByRole('dialog').getByText('In use: requests go to this key.').waitFor()
})
