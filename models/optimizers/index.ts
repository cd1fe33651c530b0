/** Optimizers: fused, one pass over the flat vectors, through the kernels. */
import type { Kernels, VectorSpec } from '../../kernels/index.ts'
import type { TensorDefinition } from '../architectures/definition.ts'
import type { Layout } from '../types.ts'
import type { OptimizerConfig } from './config.ts'

export type { AdamWConfig, OptimizerConfig, SgdConfig, TrainingConfig } from './config.ts'
export { learningRateAt } from './schedule.ts'

/** Elements [begin, end) of the flat vector with one treatment. */
interface Range {
  begin: number
  end: number
  decay: boolean
}

/** The vectors that the optimizer keeps between two steps, for parameters of `length` elements. */
export function optimizerVectors(optimizer: OptimizerConfig, length: number): VectorSpec {
  const names = optimizer.name === 'adamw' ? ['adam.m', 'adam.v'] : ['sgd.velocity']
  return Object.fromEntries(names.map((name) => [name, { type: 'float32', length }]))
}

export interface Optimizer {
  /** One step. `step` counts from 1; `gradientScale` multiplies the gradient as it is read. */
  apply(step: number, learningRate: number, gradientScale: number): void
}

/** Neighbouring tensors with the same treatment become one range, padding included: padding is zero and stays zero. */
export function decayRanges(layout: Layout, definitions: readonly TensorDefinition[]): Range[] {
  const ranges: Range[] = []
  layout.tensors.forEach(({ offset }, index) => {
    const end = layout.tensors[index + 1]?.offset ?? layout.length
    const decay = definitions[index]?.decay ?? false
    const last = ranges.at(-1)
    if (last?.decay === decay) last.end = end
    else ranges.push({ begin: offset, end, decay })
  })
  return ranges
}

/** The optimizer of a configuration over the vectors 'theta', 'gradient' and its own. */
export function createOptimizer(
  config: OptimizerConfig,
  kernels: Kernels,
  vector: (name: string) => Float32Array,
  ranges: readonly Range[],
): Optimizer {
  const cut = (name: string) => ranges.map(({ begin, end }) => vector(name).subarray(begin, end))
  const theta = cut('theta')
  const gradient = cut('gradient')
  const part = (parts: readonly Float32Array[], index: number) => parts[index] as Float32Array
  if (config.name === 'adamw') {
    const { beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weightDecay = 0.1 } = config
    const m = cut('adam.m')
    const v = cut('adam.v')
    return {
      apply(step, learningRate, gradientScale) {
        ranges.forEach(({ decay }, i) => {
          kernels.adamw(part(theta, i), part(gradient, i), part(m, i), part(v, i), {
            learningRate,
            beta1,
            beta2,
            epsilon,
            weightDecay: decay ? weightDecay : 0,
            step,
            gradientScale,
          })
        })
      },
    }
  }
  const { momentum = 0.9, weightDecay = 0 } = config
  const velocity = cut('sgd.velocity')
  return {
    apply(_step, learningRate, gradientScale) {
      ranges.forEach(({ decay }, i) => {
        kernels.sgd(part(theta, i), part(gradient, i), part(velocity, i), {
          learningRate,
          momentum,
          weightDecay: decay ? weightDecay : 0,
          gradientScale,
        })
      })
    },
  }
}
