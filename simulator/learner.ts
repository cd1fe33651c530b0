/** A learner without TensorFlow: a quadratic of known curvature with seeded noise, trained by plain SGD on a virtual clock. */
import { type Kernels, type SharedVectors, twins } from '../kernels/index.ts'
import { type Clock, type ComputeContext, type Learner, normal, type Random, seededRandom } from '../protocols/index.ts'

/** Options of {@link createQuadraticLearner}. */
export interface QuadraticOptions {
  clock: Clock
  /** Must hold 'theta', at the run's common start, and 'gradient' and what the strategy needs. */
  vectors: SharedVectors
  /** Seed of this peer's noise. */
  seed: string | number
  /** Curvature of every dimension. Default 1. */
  curvature?: number
  /** Where the minimum lies, the same in every dimension. Default 1. */
  target?: number
  /** Standard deviation of the noise of a gradient's elements. Default 1. */
  noise?: number
  /** Learning rate of a step, numbered from 0. Default 0.05 throughout. */
  learningRate?: (step: number) => number
  /** Duration of a step, ms; of an evaluation and of a loss too. */
  milliseconds: number
  /** Draws from the normal distribution. Default that of protocols/random.ts, whose last bits may differ between machines. */
  draw?: (random: Random) => number
  /** What tasks compute with. Default the plain TypeScript twins. */
  kernels?: Kernels
}

/** A learner on the loss 0.5 curvature |theta - target|² / size, in plain typed arrays. */
export function createQuadraticLearner(options: QuadraticOptions): Learner {
  const { clock, vectors, milliseconds } = options
  const curvature = options.curvature ?? 1
  const target = options.target ?? 1
  const noise = options.noise ?? 1
  const draw = options.draw ?? normal
  const rate = options.learningRate ?? (() => 0.05)
  const theta = vectors.float32('theta')
  const start = theta.slice()
  const size = theta.length
  const random = seededRandom('quadratic', options.seed)
  const context: ComputeContext = {
    kernels: options.kernels ?? twins,
    float32: (name) => vectors.float32(name),
    int32: (name) => vectors.int32(name),
    bytes: (name) => vectors.bytes(name),
  }
  let step = 0

  /** Where the minimum of one batch lies, away from that of all. */
  const shiftOf = (batch: number): number => noise * (seededRandom('quadratic', options.seed, batch).uniform() - 0.5)
  const lossAt = (values: Float32Array, shift = 0): number => {
    let sum = 0
    for (const value of values) {
      sum += (value - target - shift) ** 2
    }
    return (0.5 * curvature * sum) / size
  }

  return {
    size,
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
      const stopped = (): boolean => signal?.aborted ?? false
      for (let i = 0; i < count && !stopped(); i++) {
        await clock.sleep(milliseconds, signal).catch(() => undefined)
        if (stopped()) {
          return
        }
        const loss = lossAt(theta)
        const learningRate = rate(step)
        let squares = 0
        for (let k = 0; k < size; k++) {
          const gradient = curvature * ((theta[k] as number) - target) + noise * draw(random)
          squares += gradient * gradient
          theta[k] = (theta[k] as number) - learningRate * gradient
        }
        step++
        onStep?.({ step, loss, gradientNorm: Math.sqrt(squares), learningRate, samples: 1, milliseconds })
      }
    },
    async evaluate({ signal, vector } = {}) {
      await clock.sleep(milliseconds, signal)
      return { step, loss: lossAt(vectors.float32(vector ?? 'theta')), samples: 1, milliseconds }
    },
    async lossAt(vector, batch, signal) {
      await clock.sleep(milliseconds, signal)
      return lossAt(vectors.float32(vector), shiftOf(batch))
    },
    async gradient() {
      const gradient = vectors.float32('gradient')
      for (let k = 0; k < size; k++) {
        gradient[k] = curvature * ((theta[k] as number) - target) + noise * draw(random)
      }
      return lossAt(theta)
    },
    async compute(task, args) {
      return task.run(context, args)
    },
  }
}
