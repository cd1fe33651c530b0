/** A thread of a sweep: gets seeds, one at a time, and answers with what came of them. */
import { parentPort, workerData } from 'node:worker_threads'
import { StarlingError } from '../../protocols/index.ts'
import type { Scenario } from './scenario.ts'
import { type SimulationProgress, simulate } from './simulate.ts'
import type { SweepAnswer } from './sweep.ts'

if (parentPort === null) throw new StarlingError('not-a-worker', 'a sweep runs its simulations in worker threads', {})
const port = parentPort

port.on('message', (seed: number) => void answer(seed).then((said) => port.postMessage(said)))

async function answer(seed: number): Promise<SweepAnswer> {
  const started = performance.now()
  try {
    const onProgress = (progress: SimulationProgress): void => port.postMessage({ progress } satisfies SweepAnswer)
    const result = await simulate({ ...(workerData as Scenario), seed }, { onProgress })
    return { seed, result, realSeconds: (performance.now() - started) / 1000 }
  } catch (error) {
    if (!(error instanceof StarlingError)) throw error
    return { seed, code: error.code, message: error.message }
  }
}
