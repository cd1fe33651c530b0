/** Chromium without a window, driven over its debugging protocol: for the tests of the page and for pictures of it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { WebSocket } from 'ws'

/** Milliseconds for Chromium to come up, and for one answer. */
const START = 30_000
const ANSWER = 20_000

/** Path of a Chromium on this machine, if there is one. */
export function findChromium(): string | undefined {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
      const program = join(folder, name)
      if (existsSync(program)) return program
    }
  }
  return undefined
}

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--hide-scrollbars',
  '--remote-debugging-port=0',
]

export interface Page {
  /** Runs an expression in the page; its value comes back as JSON. */
  evaluate<T>(expression: string): Promise<T>
  /** Polls an expression until it is true. Throws after `milliseconds`. */
  until(expression: string, milliseconds?: number): Promise<void>
  /** The page as PNG. */
  picture(whole?: boolean): Promise<Buffer>
  /** What the page printed as errors, and exceptions it threw. */
  readonly errors: string[]
  close(): Promise<void>
}

export interface PageOptions {
  width?: number
  height?: number
  dark?: boolean
}

/** Opens one page in a browser of its own. */
export async function openPage(url: string, options: PageOptions = {}): Promise<Page> {
  const program = findChromium()
  if (program === undefined) throw new Error('No Chromium on this machine')
  const { width = 1400, height = 1000, dark = false } = options
  const profile = mkdtempSync(join(tmpdir(), 'starling-browser-'))
  const child = spawn(
    program,
    [...FLAGS, `--user-data-dir=${profile}`, `--window-size=${width},${height}`, 'about:blank'],
    { stdio: ['ignore', 'ignore', 'pipe'], detached: true },
  )
  const socket = await connect(await debuggerOf(child))
  const errors: string[] = []
  let counter = 0
  const waiting = new Map<number, (message: { result?: unknown; error?: { message: string } }) => void>() // at most the few questions below
  socket.on('message', (data) => {
    const message = JSON.parse(String(data))
    waiting.get(message.id)?.(message)
    waiting.delete(message.id)
    if (message.method === 'Runtime.exceptionThrown')
      errors.push(message.params.exceptionDetails.exception?.description ?? 'exception')
    if (message.method === 'Runtime.consoleAPICalled' && message.params.type === 'error')
      errors.push(JSON.stringify(message.params.args))
    if (message.method === 'Log.entryAdded' && message.params.entry.level === 'error')
      errors.push(message.params.entry.text)
  })
  const ask = <T>(method: string, params: object = {}, sessionId?: string): Promise<T> =>
    new Promise((resolve, reject) => {
      counter += 1
      const id = counter
      const timer = setTimeout(() => reject(new Error(`${method}: no answer in ${ANSWER} ms`)), ANSWER)
      waiting.set(id, ({ result, error }) => {
        clearTimeout(timer)
        if (error === undefined) resolve(result as T)
        else reject(new Error(`${method}: ${error.message}`))
      })
      socket.send(JSON.stringify({ id, method, params, sessionId }))
    })
  const { targetInfos } = await ask<{ targetInfos: { targetId: string; type: string }[] }>('Target.getTargets')
  const { sessionId } = await ask<{ sessionId: string }>('Target.attachToTarget', {
    targetId: targetInfos.find((target) => target.type === 'page')?.targetId,
    flatten: true,
  })
  const tell = <T>(method: string, params: object = {}): Promise<T> => ask<T>(method, params, sessionId)
  await tell('Runtime.enable')
  await tell('Log.enable')
  await tell('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 600 })
  await tell('Emulation.setEmulatedMedia', {
    features: [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }],
  })
  await tell('Page.navigate', { url })
  const evaluate = async <T>(expression: string): Promise<T> => {
    const { result, exceptionDetails } = await tell<{ result: { value: T }; exceptionDetails?: { text: string } }>(
      'Runtime.evaluate',
      { expression, returnByValue: true, awaitPromise: true },
    )
    if (exceptionDetails !== undefined) throw new Error(`${expression}: ${exceptionDetails.text}`)
    return result.value
  }
  return {
    errors,
    evaluate,
    async until(expression, milliseconds = ANSWER) {
      const deadline = Date.now() + milliseconds
      while (!(await evaluate<boolean>(`Boolean(${expression})`))) {
        if (Date.now() > deadline) throw new Error(`The page never came to: ${expression}`)
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    },
    async picture(whole = true) {
      const { data } = await tell<{ data: string }>('Page.captureScreenshot', {
        format: 'png',
        captureBeyondViewport: whole,
      })
      return Buffer.from(data, 'base64')
    },
    async close() {
      const gone = new Promise((resolve) => child.once('exit', resolve))
      await ask('Browser.close').catch(() => child.kill('SIGKILL'))
      socket.close()
      await gone
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

function debuggerOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const timer = setTimeout(() => reject(new Error('Chromium did not come up')), START)
    child.stderr?.on('data', (chunk: Buffer) => {
      text = (text + chunk.toString()).slice(-10_000)
      const address = /DevTools listening on (ws:\S+)/.exec(text)?.[1]
      if (address === undefined) return
      clearTimeout(timer)
      resolve(address)
    })
    child.once('error', reject)
  })
}

function connect(address: string): Promise<WebSocket> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(address, { maxPayload: 64 * 1024 * 1024 })
    socket.once('open', () => resolve(socket))
    socket.once('error', reject)
  })
}
