/** The run's own model, for `starling simulate --learner real`. */
import { openEngine, optimizerVectors } from '../../../models/index.ts'
import { StarlingError } from '../../../protocols/index.ts'
import { createTrainerLearner, type Problem, peerNames, type Scenario } from '../../../simulator/index.ts'
import { filesOf, openSource, type Run, sourceOf } from '../../run/index.ts'

/** Most peers with a real model: their steps are computed one after the other, on one core. */
const MAX_REAL_PEERS = 32

/** What the peers of a scenario learn in this run. Throws StarlingError 'bad-scenario' for a run that needs files, and for too many peers. */
export async function realProblem({ manifest, model, training, layout }: Run, { peers }: Scenario): Promise<Problem> {
  if (peers > MAX_REAL_PEERS) {
    throw bad(`learner: real models are simulated with at most ${MAX_REAL_PEERS} peers, not ${peers}; use mlp`)
  }
  if (filesOf(manifest.data).length > 0 || manifest.model.weights !== undefined) {
    throw bad('learner: real takes embedded data (stories, digits) and parameters drawn from the seed, no files')
  }
  const engine = await openEngine({ threads: 1 })
  const { seed, data } = manifest
  const datasets = new Map(
    await Promise.all(
      peerNames(peers).map(async (name) => [name, await openSource(sourceOf(data, model, seed, name, {}))] as const),
    ),
  )
  return {
    size: layout.length,
    moments: optimizerVectors(training.optimizer, layout.length),
    learner(name, { clock, vectors, milliseconds }) {
      const dataset = datasets.get(name)
      if (dataset === undefined) throw new StarlingError('unknown-peer', `there is no data for ${name}`, { name })
      const validationRows = data.validation.rows
      return createTrainerLearner({
        clock,
        vectors,
        engine,
        model,
        training,
        dataset,
        seed,
        validationRows,
        milliseconds,
      })
    },
  }
}

function bad(message: string): StarlingError {
  return new StarlingError('bad-scenario', message, {})
}
