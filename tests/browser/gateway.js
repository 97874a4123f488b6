// A gateway over a simulated Gemini, started for one file of tests.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const READY_WITHIN_MS = 60_000

/** Starts the demo; `options` are its own, as `--healthy`. */
export async function startDemo(...options) {
  const process_ = spawn(process.env.GEMINI_BALANCE_BIN, ['demo', '--port', '0', ...options], { stdio: ['ignore', 'pipe', 'ignore'] })
  const ended = new Promise((resolve) => process_.once('exit', resolve))
  const { gateway, token, admin_token: adminToken, sim } = await readyLine(process_)
  return {
    gateway,
    token,
    adminToken,
    sim,
    /** Calls the admin API as a script does; the answer's JSON. */
    async admin(method, path, body) {
      const response = await fetch(`${gateway}/api/admin/${path}`, {
        method,
        headers: { authorization: `Bearer ${adminToken}`, ...(body ? { 'content-type': 'application/json' } : {}) },
        body: body && JSON.stringify(body),
      })
      const text = await response.text()
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
      return text ? JSON.parse(text) : undefined
    },
    /** Tells the simulation how a key behaves from now on. */
    async behave(key, behaviour) {
      const response = await fetch(`${sim}/_sim/keys/${key}`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(behaviour),
      })
      if (!response.ok) throw new Error(`the simulation answered ${response.status}: ${await response.text()}`)
    },
    /** One chat completion as a client; its status. */
    async ask(text = 'Hello!', asToken = token, model = 'gemini-2.5-flash') {
      const response = await fetch(`${gateway}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${asToken}`, 'content-type': 'application/json' },
        body: JSON.stringify({ model, messages: [{ role: 'user', content: text }] }),
      })
      await response.text()
      return response
    },
    async stop() {
      process_.kill('SIGTERM')
      await ended
    },
  }
}

const OWN_TOKEN = 'sk-browser-admin-0123456789abcdef'

/** Starts a gateway as it is served, over the simulation of a demo: no key, no client, nothing in its folder. */
export async function startEmpty(sim, env = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'gemini-balance-browser-'))
  const process_ = spawn(process.env.GEMINI_BALANCE_BIN, ['serve'], {
    cwd: folder,
    env: { PATH: process.env.PATH, PORT: '0', HOST: '127.0.0.1', AUTH_TOKEN: OWN_TOKEN, BASE_URL: `${sim}/v1beta`, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = new Promise((resolve) => process_.once('exit', resolve))
  return {
    gateway: await listening(process_),
    adminToken: OWN_TOKEN,
    async stop() {
      process_.kill('SIGTERM')
      await ended
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function listening(process_) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('the gateway did not listen')), READY_WITHIN_MS)
    const hear = (line) => {
      const [, address] = /listening on (http:\/\/[\d.:]+)/.exec(line) ?? []
      if (!address) return
      clearTimeout(timer)
      resolve(address)
    }
    for (const stream of [process_.stdout, process_.stderr]) createInterface({ input: stream }).on('line', hear)
    process_.once('error', reject)
    process_.once('exit', (status) => reject(new Error(`the gateway ended with ${status}`)))
  })
}

function readyLine(process_) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('the demo did not become ready')), READY_WITHIN_MS)
    createInterface({ input: process_.stdout }).on('line', (line) => {
      if (!line.startsWith('ready ')) return
      clearTimeout(timer)
      resolve(JSON.parse(line.slice('ready '.length)))
    })
    process_.once('error', reject)
    process_.once('exit', (status) => reject(new Error(`the demo ended with ${status}`)))
  })
}
