import type { Kernels } from '../../kernels/index.ts'
import { placeTensors, type TensorDefinition } from '../architectures/index.ts'
import { FlatGradient, type GradientSink, Parameters, type Primitives } from '../ops/index.ts'
import { clipping } from '../optimizers/clip.ts'
import {
  createOptimizer,
  decayRanges,
  learningRateAt,
  type Optimizer,
  type TrainingConfig,
} from '../optimizers/index.ts'
import type { NamedVectors } from '../trainer/index.ts'
import type { Layout } from '../types.ts'
import { accumulatorName } from './vectors.ts'

export interface PlaceModules {
  math: Primitives
  kernels: Kernels
  vectors: NamedVectors
  training: TrainingConfig
  accumulators: number
}

/** When and how strongly a place takes an optimizer step. */
export interface PlaceStep {
  /** Place in the schedule of learning rates, from 1. */
  step: number
  /** Steps that the moments have taken in, this one included; 1 for a fresh optimizer. */
  applied: number
  /** Factor of the learning rate. */
  rate: number
}

/** One part of a model in a peer's vectors: its parameters as tensors, the sums of its gradients, its optimizer. */
export class Place {
  /** 0 for the ends. */
  readonly part: number
  /** Where its tensors lie, from the place's beginning; under their names in the whole model. */
  readonly layout: Layout
  readonly theta: Float32Array
  private readonly modules: PlaceModules
  private readonly gradients: readonly { values: Float32Array; sink: FlatGradient; optimizer: Optimizer }[]
  /** On the native engine tensors are the vector's own memory and serve all passes; the others copy. */
  private readonly shared: Parameters | undefined
  /** Copies handed out: one for each open slot, and one for a pass under way. */
  private readonly copies = new Set<Parameters>()

  constructor(modules: PlaceModules, part: number, definitions: readonly TensorDefinition[], begin: number) {
    const { math, kernels, vectors, training, accumulators } = modules
    this.modules = modules
    this.part = part
    this.layout = placeTensors(definitions)
    const slice = (name: string) => vectors.float32(name).subarray(begin, begin + this.layout.length)
    this.theta = slice('theta')
    const ranges = decayRanges(this.layout, definitions)
    this.gradients = Array.from({ length: accumulators }, (_, accumulator) => {
      const values = slice(accumulatorName(accumulator))
      const vector = (name: string) => (name === 'gradient' ? values : slice(name))
      return {
        values,
        sink: new FlatGradient(math, this.layout, values),
        optimizer: createOptimizer(training.optimizer, kernels, vector, ranges),
      }
    })
    if (math.engine.name === 'native') this.shared = new Parameters(math, this.layout, this.theta)
  }

  /** Tensors of parameters held now. */
  get size(): number {
    let total = this.shared?.size ?? 0
    for (const copy of this.copies) total += copy.size
    return total
  }

  /** The parameters as they are now, for one pass; to be given back with {@link release}. */
  parameters(): Parameters {
    if (this.shared !== undefined) return this.shared
    const copy = new Parameters(this.modules.math, this.layout, this.theta)
    this.copies.add(copy)
    return copy
  }

  release(parameters: Parameters): void {
    if (this.copies.delete(parameters)) parameters.dispose()
  }

  sink(accumulator: number): GradientSink {
    return this.gradient(accumulator).sink
  }

  /** One optimizer step from a sum of gradients, which is 0 afterwards. @throws ModelError 'not-finite'; nothing is changed then. */
  step(accumulator: number, { step, applied, rate }: PlaceStep): { gradientNorm: number; learningRate: number } {
    const { kernels, training } = this.modules
    const { values, optimizer } = this.gradient(accumulator)
    const { gradientNorm, gradientScale } = clipping(kernels, this.layout, values, { clip: training.clip, step })
    const learningRate = rate * learningRateAt(training, step - 1)
    optimizer.apply(applied, learningRate, gradientScale)
    values.fill(0)
    return { gradientNorm, learningRate }
  }

  dispose(): void {
    this.shared?.dispose()
  }

  private gradient(accumulator: number) {
    return this.gradients[accumulator] as { values: Float32Array; sink: FlatGradient; optimizer: Optimizer }
  }
}
