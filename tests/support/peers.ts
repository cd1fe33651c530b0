/** Starts daemons as processes for a test, keeps their logs, and ends them all. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { NodeEvent, NodeOptions, NodeStatus, PeerStatus } from '../../daemon/index.ts'
import { localOptions } from '../../daemon/node/testing/options.ts'
import type { GenerateOptions } from '../../models/index.ts'
import type { PeerReply, PeerRequest } from './messages.ts'

/** Milliseconds a loaded machine may take for anything a test waits for. */
export const PATIENCE = 60_000

export type PeerOptions = Partial<Omit<NodeOptions, 'dataFolder'>>

/** A daemon in a process of its own. */
export interface Peer {
  readonly name: string
  readonly folder: string
  readonly process: ChildProcess
  /** Set once it runs. */
  readonly peer: string
  readonly link: string
  readonly page: string
  status(): Promise<NodeStatus>
  peers(): Promise<PeerStatus[]>
  events(): Promise<NodeEvent[]>
  generate(options: GenerateOptions): Promise<string>
  /** Resolves when the run is done there. */
  readonly finished: Promise<void>
  /** Clean stop; resolves to the exit code when the process is gone. */
  stop(): Promise<number | null>
  /** kill -9. */
  kill(): Promise<void>
}

/** Everything that a test started. */
export interface Stage {
  readonly folder: string
  /** Starts a daemon and waits until it runs; throws an error with the daemon's code when it does not. */
  start(name: string, options: PeerOptions): Promise<Peer>
  /** Ends all processes and removes the folder; with `failed`, prints the logs first. */
  end(failed?: boolean): Promise<void>
}

/** `level` is what the daemons write to their logs, which are shown when something failed. */
export async function createStage(level: 'debug' | 'info' = 'debug'): Promise<Stage> {
  const folder = await mkdtemp(join(tmpdir(), 'starling-test-'))
  const processes: { name: string; child: ChildProcess; log: string }[] = [] // as many as the test starts

  const start = async (name: string, options: PeerOptions): Promise<Peer> => {
    const { manifest, ...rest } = options
    const full = {
      ...localOptions(join(folder, name), { name, ...rest }),
      ...(manifest === undefined ? {} : { manifest: Buffer.from(manifest).toString('base64') }),
    }
    const log = join(folder, `${name}-${processes.length}.log`)
    const child = spawn(
      process.execPath,
      [fileURLToPath(new URL('./peer.js', import.meta.url)), JSON.stringify(full), level],
      {
        stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      },
    )
    const file = createWriteStream(log)
    child.stdout?.pipe(file, { end: false })
    child.stderr?.pipe(file, { end: false })
    processes.push({ name, child, log })

    const asked = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
    let nextId = 1
    let finish: () => void = () => {}
    let breakDown: (error: Error) => void = () => {}
    const finished = new Promise<void>((resolve, reject) => {
      finish = resolve
      breakDown = reject
    })
    finished.catch(() => {}) // a test that does not wait for the end does not care
    const ready = new Promise<Extract<PeerReply, { kind: 'ready' }>>((resolve, reject) => {
      child.on('message', (message: PeerReply) => {
        if (message.kind === 'ready') resolve(message)
        else if (message.kind === 'finished') finish()
        else if (message.kind === 'broken') {
          const error = Object.assign(new Error(message.message), { code: message.code })
          reject(error)
          breakDown(error)
        } else {
          const question = asked.get(message.id)
          asked.delete(message.id)
          if (message.kind === 'answer') question?.resolve(message.value)
          else question?.reject(new Error(message.message))
        }
      })
      child.on('exit', (code, signal) => {
        const error = new Error(`the process of ${name} ended with ${code ?? signal}`)
        reject(error)
        for (const question of asked.values()) question.reject(error)
        asked.clear()
      })
    })
    const ask = <T>(what: PeerRequest['what'], options?: unknown): Promise<T> =>
      new Promise<T>((resolve, reject) => {
        const id = nextId++
        asked.set(id, { resolve: resolve as (value: unknown) => void, reject })
        child.send({ id, what, options } satisfies PeerRequest, (error) => {
          if (error !== null) reject(error)
        })
      })
    const { peer, link, page } = await ready
    return {
      name,
      folder: full.dataFolder,
      process: child,
      peer,
      link,
      page,
      finished,
      status: () => ask('status'),
      peers: () => ask('peers'),
      events: () => ask('events'),
      generate: (options) => ask('generate', options),
      async stop() {
        const gone = once(child, 'exit') as Promise<[number | null]>
        await ask('stop')
        const [code] = await gone
        return code
      },
      async kill() {
        const gone = once(child, 'exit')
        child.kill('SIGKILL')
        await gone
      },
    }
  }

  return {
    folder,
    start,
    async end(failed = false) {
      for (const { child } of processes) {
        if (child.exitCode !== null || child.signalCode !== null) continue
        const gone = once(child, 'exit')
        child.kill('SIGKILL')
        await gone
      }
      if (failed) for (const { log } of processes) process.stderr.write(`--- ${log}\n${await readFile(log, 'utf8')}\n`)
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Waits until `condition` gives something else than undefined or false. */
export async function until<T>(
  what: string,
  condition: () => Promise<T | undefined | false>,
  patience: number = PATIENCE,
): Promise<T> {
  const deadline = Date.now() + patience
  for (;;) {
    const value = await condition()
    if (value !== undefined && value !== false) return value
    if (Date.now() > deadline) throw new Error(`${what} did not happen within ${patience / 1_000} s`)
    await sleep(100)
  }
}
