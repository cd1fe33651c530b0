/** Starling as a user runs it: `bin/starling.js` in a host of the lab, seen through its --json lines and its API alone. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { root } from '../files.js'

/** Longest wait for an answer of the API, ms, and the largest answer, bytes. */
const ANSWER_TIMEOUT = 20_000
const MAX_ANSWER = 32 * 1024 * 1024

/** Steps are told once a second and not needed one by one: the newest of these are kept. */
const MAX_STEPS = 1_000

/** Asks a web server inside a namespace: this process is not in it. */
const FETCH = `
const response = await fetch(process.argv[1], { signal: AbortSignal.timeout(${ANSWER_TIMEOUT}) })
process.stdout.write(await response.text())
process.exitCode = response.ok ? 0 : 1`

const execute = promisify(execFile)

/** What a lab's processes have in common. */
export function createCrew({ topology, folder, program = join(root, 'bin', 'starling.js') }) {
  mkdirSync(folder, { recursive: true })
  const nodes = [] // as many as the scenario starts
  const helpers = [] // a few

  /**
   * Starts `starling ...words --json` on a host, with a data folder of its own that a second node of that name goes on with; `from` is another installation's program.
   * The node's `ready` line, its events and its end can be waited for.
   */
  function start(name, host, words, { from = program } = {}) {
    const data = join(folder, name)
    const base = join(folder, `${name}-${nodes.length}`)
    const log = `${base}.log`
    const began = performance.now()
    const command = [from, ...words, '--data-folder', data, '--json', '--log-level', 'debug']
    const child = spawn('ip', ['netns', 'exec', topology.nameOf(host), process.execPath, ...command], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1' },
    })
    child.stderr.pipe(createWriteStream(log))
    const records = createWriteStream(`${base}.jsonl`)
    const node = {
      name,
      host,
      log,
      child,
      /** Every line so far but steps, of this peer and of others; a scenario lasts minutes. */
      lines: [],
      steps: [],
      ready: undefined,
      /** Seconds from the start of the process to its ready line. */
      readyAfter: undefined,
      stoppedByUs: false,
      get alive() {
        return child.exitCode === null && child.signalCode === null
      },
      /** What happened at this node itself. */
      own: (kind) =>
        (kind === 'step' ? node.steps : node.lines).filter(
          (line) => line.kind === kind && line.peer === node.ready?.peer,
        ),

      /** GET of its API, by a process inside its namespace. */
      async ask(path) {
        const url = new URL(path, node.ready.page).href
        const words = [
          'netns',
          'exec',
          topology.nameOf(host),
          process.execPath,
          '--input-type=module',
          '-e',
          FETCH,
          url,
        ]
        const { stdout } = await execute('ip', words, { maxBuffer: MAX_ANSWER, timeout: ANSWER_TIMEOUT * 2 })
        return JSON.parse(stdout)
      },
      status: () => node.ask('/api/status'),
      peers: () => node.ask('/api/peers'),

      /** kill -9. */
      async kill() {
        node.stoppedByUs = true
        if (!node.alive) return
        const gone = once(child, 'exit')
        child.kill('SIGKILL')
        await gone
      },
      /** What a service manager does: it is asked to end, and given time. */
      async stop() {
        node.stoppedByUs = true
        const gone = once(child, 'exit')
        child.kill('SIGTERM')
        await gone
      },
      /** As a laptop whose lid is closed: it does nothing and its connections hang. */
      sleep: () => child.kill('SIGSTOP'),
      wake: () => child.kill('SIGCONT'),
    }
    nodes.push(node)
    createInterface({ input: child.stdout }).on('line', (text) => {
      records.write(`${text}\n`)
      if (!text.startsWith('{')) return
      const line = { ...JSON.parse(text), seenAt: Date.now() }
      if (line.kind === 'ready') {
        node.ready = line
        node.readyAfter = (performance.now() - began) / 1_000
      }
      if (line.kind !== 'step') node.lines.push(line)
      else if (node.steps.push(line) > MAX_STEPS) node.steps.shift()
    })
    return node
  }

  /** Runs another program on a host or router until the end. */
  function help(host, command, log) {
    const child = spawn('ip', ['netns', 'exec', topology.nameOf(host), ...command], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const file = createWriteStream(log)
    child.stdout.pipe(file, { end: false })
    child.stderr.pipe(file, { end: false })
    helpers.push(child)
  }

  /** Runs another script of this folder on a host until the end; resolves once it has said something. */
  async function serve(host, script, ...words) {
    const command = [process.execPath, join(root, 'scripts', 'lab', script), ...words]
    const child = spawn('ip', ['netns', 'exec', topology.nameOf(host), ...command], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    helpers.push(child)
    await once(child.stdout, 'data')
  }

  return {
    folder,
    nodes,
    start,
    help,
    serve,
    /** Those that ended although nobody ended them. */
    deserters: () => nodes.filter((node) => !node.alive && !node.stoppedByUs),
    /** Ends all, the last one first. */
    async close() {
      for (const node of nodes.toReversed()) await node.kill()
      for (const helper of helpers.toReversed()) helper.kill('SIGKILL')
    },
  }
}

/** Waits until `condition` gives something else than undefined, null or false; throws an error with `what` when it does not within `seconds`. */
export async function until(what, seconds, condition, signal) {
  const deadline = performance.now() + seconds * 1_000
  for (;;) {
    signal?.throwIfAborted()
    const value = await condition()
    if (value !== undefined && value !== null && value !== false) return value
    if (performance.now() > deadline) throw new Error(`${what} did not happen within ${seconds} s`)
    await pause(0.2, signal)
  }
}

/** Lets time pass, in seconds. */
export const pause = (seconds, signal) => sleep(seconds * 1_000, undefined, signal === undefined ? {} : { signal })
