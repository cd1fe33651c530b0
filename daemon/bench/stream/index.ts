/**
 * What `starling bench stream` measures: one process pulls a blob from another over the loopback interface, and the same bytes go
 * through a plain socket in between, so that the ratio holds on a busy machine.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { StarlingError } from '../../../protocols/index.ts'
import { median } from '../median.ts'

export interface StreamBenchOptions {
  /** Bytes of the blob. Default 256 MiB. */
  bytes?: number
  /** Runs that count, after one that does not. Default 5. */
  runs?: number
  /** Called after each run. */
  onRun?: (done: number, of: number) => void
}

/** Speeds in MB/s (10^6 bytes per second). */
export interface Speed {
  median: number
  min: number
  max: number
}

export interface StreamFigures {
  bytes: number
  runs: number
  chunkBytes: number
  outstanding: number
  /** A plain TCP socket between the same two processes. */
  socket: Speed
  /** Chunks through the ask protocol (TCP, noise, yamux), not hashed. */
  ask: Speed
  /** The same as users get it: chunks named, hashed and checked by `createBlobs(...).pull`. */
  pull: Speed
  /** Median of the pull's share of the socket's speed, both of the same run; 0 to 1. */
  share: number
  /** Highest resident memory, MB; either process holds the whole blob. */
  peakMemory: { giver: number; taker: number }
}

/** What the two processes are told and say. */
export type Order =
  | { do: 'prepare'; bytes: number; meet?: Meeting }
  | { do: 'run'; kind: Kind }
  | { do: 'memory' }
  | { do: 'end' }
export type Kind = 'socket' | 'ask' | 'pull'
export interface Meeting {
  address: string
  port: number
  root: string
}
export type Report =
  | { milliseconds: number }
  | { meet: Meeting }
  | { ready: true }
  | { peak: number }
  | { error: string }

const KINDS: readonly Kind[] = ['socket', 'ask', 'pull']

/** Both processes must have said something within this, milliseconds: a run takes a second or two, hashing the blob about one. */
const STEP_TIMEOUT = 120_000

/** Measures. Throws StarlingError 'bench-failed' when a process fails, and the signal's reason when aborted. */
export async function benchStream(options: StreamBenchOptions = {}, signal?: AbortSignal): Promise<StreamFigures> {
  const { bytes = 256 * 1024 ** 2, runs = 5 } = options
  signal?.throwIfAborted()
  const script = fileURLToPath(new URL('./process.js', import.meta.url))
  const giver = fork(script, ['giver'], { serialization: 'advanced' })
  const taker = fork(script, ['taker'], { serialization: 'advanced' })
  const ends = [giver, taker].map((child) => once(child, 'exit'))
  try {
    const { meet } = await step<{ meet: Meeting }>(giver, { do: 'prepare', bytes }, signal)
    await step(taker, { do: 'prepare', bytes, meet }, signal)
    const speeds: Record<Kind, number[]> = { socket: [], ask: [], pull: [] }
    for (let run = 0; run <= runs; run++) {
      for (const kind of KINDS) {
        const { milliseconds } = await step<{ milliseconds: number }>(taker, { do: 'run', kind }, signal)
        // The first run warms up the compiler and the windows.
        if (run > 0) speeds[kind].push(bytes / 1e3 / milliseconds)
      }
      options.onRun?.(run, runs)
    }
    const [{ peak: given }, { peak: taken }] = [
      await step<{ peak: number }>(giver, { do: 'memory' }, signal),
      await step<{ peak: number }>(taker, { do: 'memory' }, signal),
    ]
    return {
      bytes,
      runs,
      chunkBytes: CHUNK,
      outstanding: OUTSTANDING,
      socket: speed(speeds.socket),
      ask: speed(speeds.ask),
      pull: speed(speeds.pull),
      share: median(speeds.pull.map((value, run) => value / (speeds.socket[run] ?? Number.NaN))),
      peakMemory: { giver: given, taker: taken },
    }
  } finally {
    for (const child of [taker, giver]) if (child.connected) child.send({ do: 'end' } satisfies Order)
    const timer = setTimeout(() => [giver, taker].map((child) => child.kill('SIGKILL')), 5_000)
    await Promise.all(ends)
    clearTimeout(timer)
  }
}

/** Bytes of a chunk and how many are asked for at once, as the pull does by default. */
export const CHUNK = 1024 * 1024
export const OUTSTANDING = 2

async function step<T>(child: ChildProcess, order: Order, signal: AbortSignal | undefined): Promise<T> {
  const stop = new AbortController()
  const signals = [stop.signal, AbortSignal.timeout(STEP_TIMEOUT), ...(signal === undefined ? [] : [signal])]
  try {
    const waiting = AbortSignal.any(signals)
    const answer = once(child, 'message', { signal: waiting }) as Promise<[Report]>
    const exit = once(child, 'exit', { signal: waiting }).then(() => [{ error: 'it ended' }] as [Report])
    child.send(order)
    const [report] = await Promise.race([answer, exit.catch(() => answer)])
    if ('error' in report) throw new StarlingError('bench-failed', `a process of the benchmark failed: ${report.error}`)
    return report as T
  } catch (error) {
    if (signal?.aborted) throw signal.reason
    throw error instanceof StarlingError
      ? error
      : new StarlingError('bench-failed', `no answer from a process of the benchmark`, {}, { cause: error })
  } finally {
    stop.abort()
  }
}

function speed(values: number[]): Speed {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) }
}
