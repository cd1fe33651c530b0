/** One scenario with many seeds, on as many cores as wanted: each seed is a simulation of its own, and gives what it gives alone. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { StarlingError } from '../../protocols/index.ts'
import type { Problem } from './problem.ts'
import type { Scenario } from './scenario.ts'
import { type SimulationResult, simulate } from './simulate.ts'

export interface SweepOptions {
  seeds: readonly number[]
  /** Simulations at once, each in a thread. Default 1: in this thread. */
  cores?: number
  /** As in {@link simulate}; on one core only. */
  problem?: Problem
}

/** What came of one seed. */
export interface SweepResult {
  seed: number
  result: SimulationResult
  realSeconds: number
}

/** What a thread answers: a result, or the error that ended the simulation. */
export type SweepAnswer = SweepResult | { seed: number; code: string; message: string }

/** Runs the seeds and gives their results in the order of the seeds. Throws what the first simulation that fails throws, and 'bad-scenario' for a problem on several cores. */
export async function* sweep(scenario: Scenario, options: SweepOptions): AsyncGenerator<SweepResult, void, void> {
  const { seeds, cores = 1, problem } = options
  if (cores === 1) {
    for (const seed of seeds) {
      const started = performance.now()
      const result = await simulate({ ...scenario, seed }, problem === undefined ? {} : { problem })
      yield { seed, result, realSeconds: (performance.now() - started) / 1000 }
    }
    return
  }
  if (problem !== undefined) {
    throw new StarlingError('bad-scenario', "cores: the run's own model is simulated on one core", {})
  }
  const threads = Array.from({ length: Math.min(cores, seeds.length) }, () => {
    return new Worker(new URL('./sweep-worker.js', import.meta.url), { workerData: scenario })
  })
  try {
    yield* inOrder(seeds, threads)
  } finally {
    await Promise.all(threads.map((thread) => thread.terminate()))
  }
}

/** Results that came before their turn wait for it; at most one seed a thread is ahead of what was asked for. */
async function* inOrder(seeds: readonly number[], threads: readonly Worker[]): AsyncGenerator<SweepResult> {
  const answers: Promise<SweepAnswer>[] = []
  /** Ends, by thread, with its latest simulation. */
  const ends: Promise<unknown>[] = threads.map(() => Promise.resolve())
  for (const [i, seed] of seeds.entries()) {
    const place = i % threads.length
    const answer = (ends[place] as Promise<unknown>).then(() => ask(threads[place] as Worker, seed))
    // Seen by whoever takes the answer.
    answer.catch(() => undefined)
    ends[place] = answer
    answers.push(answer)
  }
  for (const answer of answers) {
    const said = await answer
    if ('code' in said) {
      throw new StarlingError(said.code, `seed ${said.seed}: ${said.message}`, { seed: said.seed })
    }
    yield said
  }
}

async function ask(thread: Worker, seed: number): Promise<SweepAnswer> {
  thread.postMessage(seed)
  // Rejects with the error of a thread that dies.
  const [answer] = (await once(thread, 'message')) as [SweepAnswer]
  return answer
}
