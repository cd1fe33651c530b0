/** One scenario with one seed or many, on as many cores as wanted: each seed is a simulation of its own, in a thread, and gives what it gives alone. */
import { Worker } from 'node:worker_threads'
import { StarlingError } from '../../protocols/index.ts'
import type { Problem } from './problem.ts'
import type { Scenario } from './scenario.ts'
import { type SimulationProgress, type SimulationResult, simulate } from './simulate.ts'

/**
 * Memory for young objects, MB: a simulation makes and drops them by the million, and with V8's own 48 MB for them, collecting them takes a sixth of the time.
 */
const YOUNG_MB = 192

export interface SweepOptions {
  seeds: readonly number[]
  /** Simulations at once. Default 1. */
  cores?: number
  /** As in {@link simulate}; on one core only, in this thread. */
  problem?: Problem
  /** As in {@link simulate}. */
  onProgress?: (progress: SimulationProgress) => void
}

/** What came of one seed. */
export interface SweepResult {
  seed: number
  result: SimulationResult
  realSeconds: number
}

/** What a thread says: how far it is, and in the end a result, or the error that ended the simulation. */
export type SweepAnswer = Answer | { progress: SimulationProgress }

type Answer = SweepResult | { seed: number; code: string; message: string }

/** Runs the seeds and gives their results in the order of the seeds. Throws what the first simulation that fails throws, and 'bad-scenario' for a problem on several cores. */
export async function* sweep(scenario: Scenario, options: SweepOptions): AsyncGenerator<SweepResult, void, void> {
  const { seeds, cores = 1, problem, onProgress = () => {} } = options
  if (problem !== undefined) {
    if (cores > 1) {
      throw new StarlingError('bad-scenario', "cores: the run's own model is simulated on one core", {})
    }
    for (const seed of seeds) {
      const started = performance.now()
      const result = await simulate({ ...scenario, seed }, { problem, onProgress })
      yield { seed, result, realSeconds: (performance.now() - started) / 1000 }
    }
    return
  }
  const threads = Array.from({ length: Math.min(cores, seeds.length) }, () => {
    return new Worker(new URL('./sweep-worker.js', import.meta.url), {
      workerData: scenario,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
    })
  })
  try {
    yield* inOrder(seeds, threads, onProgress)
  } finally {
    await Promise.all(threads.map((thread) => thread.terminate()))
  }
}

/** Results that came before their turn wait for it; at most one seed a thread is ahead of what was asked for. */
async function* inOrder(
  seeds: readonly number[],
  threads: readonly Worker[],
  onProgress: (progress: SimulationProgress) => void,
): AsyncGenerator<SweepResult> {
  const answers: Promise<Answer>[] = []
  /** Ends, by thread, with its latest simulation. */
  const ends: Promise<unknown>[] = threads.map(() => Promise.resolve())
  for (const [i, seed] of seeds.entries()) {
    const place = i % threads.length
    const answer = (ends[place] as Promise<unknown>).then(() => ask(threads[place] as Worker, seed, onProgress))
    // Seen by whoever takes the answer.
    answer.catch(() => undefined)
    ends[place] = answer
    answers.push(answer)
  }
  for (const answer of answers) {
    const said = await answer
    if ('code' in said) {
      const which = seeds.length > 1 ? `seed ${said.seed}: ` : ''
      throw new StarlingError(said.code, `${which}${said.message}`, { seed: said.seed })
    }
    yield said
  }
}

/** Has a thread simulate one seed. Rejects with the error of a thread that dies. */
function ask(thread: Worker, seed: number, onProgress: (progress: SimulationProgress) => void): Promise<Answer> {
  const answer = new Promise<Answer>((resolve, reject) => {
    const onMessage = (said: SweepAnswer): void => {
      if ('progress' in said) {
        onProgress(said.progress)
        return
      }
      thread.off('message', onMessage)
      thread.off('error', reject)
      resolve(said)
    }
    thread.on('message', onMessage)
    thread.once('error', reject)
  })
  thread.postMessage(seed)
  return answer
}
