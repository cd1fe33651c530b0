/** A learner on a small network in plain typed arrays, trained by plain SGD on a virtual clock. */
import { type Kernels, type SharedVectors, twins } from '../../kernels/index.ts'
import { type Clock, type ComputeContext, type Learner, type Random, seededRandom } from '../../protocols/index.ts'
import type { Samples } from './clusters.ts'
import { drawBatch, type Mlp } from './mlp.ts'

/** Options of {@link createMlpLearner}. */
export interface MlpLearnerOptions {
  clock: Clock
  /** Must hold 'theta' at the run's common start, and 'gradient'. */
  vectors: SharedVectors
  /** May be shared by all peers of a process: it keeps nothing between two calls. */
  mlp: Mlp
  training: Samples
  validation: Samples
  /** Numbers of this peer's training samples. */
  shard: readonly number[]
  /** Of this peer's order of samples. */
  seed: string
  batch: number
  learningRate: (step: number) => number
  /** Duration of a step, ms; an evaluation and a loss take as long. */
  milliseconds: number
  kernels?: Kernels
}

/** See the head of this file. */
export function createMlpLearner(options: MlpLearnerOptions): Learner {
  const { clock, vectors, mlp, training, validation, shard, batch, learningRate, milliseconds } = options
  const theta = vectors.float32('theta')
  const gradient = vectors.float32('gradient')
  const start = theta.slice()
  const random = seededRandom('mlp-learner', options.seed)
  const context: ComputeContext = {
    kernels: options.kernels ?? twins,
    float32: (name) => vectors.float32(name),
    int32: (name) => vectors.int32(name),
    bytes: (name) => vectors.bytes(name),
  }
  let step = 0

  const batchOf = (number: number, dice: Random = seededRandom('mlp-batch', options.seed, number)): number[] =>
    drawBatch(shard, batch, dice)

  return {
    size: theta.length,
    float32: context.float32,
    int32: context.int32,
    bytes: context.bytes,
    step: () => step,
    async setStep(value) {
      step = value
    },
    async initial(vector) {
      vectors.float32(vector).set(start)
    },
    async train(count, { signal, onStep } = {}) {
      for (let i = 0; i < count; i++) {
        await clock.sleep(milliseconds, signal).catch(() => undefined)
        if (signal?.aborted === true) {
          return
        }
        const loss = mlp.gradient(theta, gradient, training, drawBatch(shard, batch, random))
        const rate = learningRate(step)
        let squares = 0
        for (let k = 0; k < theta.length; k++) {
          const slope = gradient[k] as number
          squares += slope * slope
          theta[k] = (theta[k] as number) - rate * slope
        }
        step++
        onStep?.({ step, loss, gradientNorm: Math.sqrt(squares), learningRate: rate, samples: batch, milliseconds })
      }
    },
    async evaluate({ signal, vector } = {}) {
      await clock.sleep(milliseconds, signal)
      const { loss, accuracy } = mlp.evaluate(vectors.float32(vector ?? 'theta'), validation)
      return { step, loss, accuracy, samples: validation.labels.length, milliseconds }
    },
    async lossAt(vector, number, signal) {
      await clock.sleep(milliseconds, signal)
      return mlp.gradient(vectors.float32(vector), gradient, training, batchOf(number))
    },
    async gradient(number) {
      return mlp.gradient(theta, gradient, training, batchOf(number))
    },
    async compute(task, args) {
      return task.run(context, args)
    },
  }
}
