/** A learner on a real model: the trainer of models/, whose steps take virtual time instead of the machine's. */
import { loadKernels, type SharedVectors } from '../../kernels/index.ts'
import {
  createTrainer,
  type Dataset,
  type Engine,
  initialize,
  type ModelConfig,
  ModelError,
  type ResolvedTraining,
} from '../../models/index.ts'
import { type Clock, type ComputeContext, type Learner, StarlingError } from '../../protocols/index.ts'

/** Options of {@link createTrainerLearner}. */
export interface TrainerLearnerOptions {
  clock: Clock
  /** Must hold what `trainerVectors` names; 'theta' is written. */
  vectors: SharedVectors
  /** May be shared by all peers of a process. */
  engine: Engine
  model: ModelConfig
  training: ResolvedTraining
  /** This peer's data. */
  dataset: Dataset
  /** Of the run: the first parameters come from it. */
  seed: number
  /** Rows of the validation data that are looked at. */
  validationRows: number
  /** Virtual duration of a step, ms; an evaluation and a loss take as long. */
  milliseconds: number
}

/** See the head of this file. Its errors are those of models/ as StarlingErrors. */
export function createTrainerLearner(options: TrainerLearnerOptions): Learner {
  const { clock, vectors, engine, model, training, dataset, seed, milliseconds } = options
  const kernels = loadKernels(vectors)
  const trainer = createTrainer({ engine, kernels, vectors, model, training, seed, dataset })
  initialize(trainer.layout, model, seed, vectors.float32('theta'))
  const context: ComputeContext = {
    kernels,
    float32: (name) => vectors.float32(name),
    int32: (name) => vectors.int32(name),
    bytes: (name) => vectors.bytes(name),
  }

  return {
    size: trainer.layout.length,
    float32: context.float32,
    int32: context.int32,
    bytes: context.bytes,
    step: () => trainer.stepNumber,
    async setStep(value) {
      trainer.stepNumber = value
    },
    async initial(vector) {
      initialize(trainer.layout, model, seed, vectors.float32(vector))
    },
    async train(count, { signal, onStep } = {}) {
      for (let i = 0; i < count; i++) {
        await clock.sleep(milliseconds, signal).catch(() => undefined)
        if (signal?.aborted === true) {
          return
        }
        const report = known(() => trainer.step())
        onStep?.({ ...report, milliseconds })
      }
    },
    async evaluate({ signal, vector } = {}) {
      await clock.sleep(milliseconds, signal)
      return { ...known(() => trainer.evaluate(vector, options.validationRows)), milliseconds }
    },
    async lossAt(vector, batch, signal) {
      await clock.sleep(milliseconds, signal)
      return known(() => trainer.lossAt(vector, batch))
    },
    async gradient(batch) {
      return known(() => trainer.gradient(batch))
    },
    async compute(task, args) {
      return task.run(context, args)
    },
  }
}

/** What the work gives; a model that cannot be trained on ends a peer, not the simulation. */
function known<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (error instanceof ModelError) {
      throw new StarlingError(error.code, error.message, error.data)
    }
    throw error
  }
}
