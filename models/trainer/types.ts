import type { Kernels } from '../../kernels/index.ts'
import type { ModelConfig } from '../architectures/config.ts'
import type { TrainingConfig } from '../optimizers/config.ts'
import type { Dataset, Engine, EvaluationReport, GenerateOptions, Layout, StepReport } from '../types.ts'

/** The part of kernels' SharedVectors that a trainer uses. */
export interface NamedVectors {
  float32(name: string): Float32Array
}

export interface TrainerOptions {
  engine: Engine
  /** Kernels over the memory in which `vectors` lie. */
  kernels: Kernels
  /** Holds at least what {@link trainerVectors} names. 'theta' must be initialized (see `initialize`) or loaded. */
  vectors: NamedVectors
  model: ModelConfig
  training: TrainingConfig
  dataset: Dataset
  /** Whether it takes steps; otherwise it needs no vectors for a gradient and an optimizer. Default true. */
  trains?: boolean
  /** Seed of the run: text is drawn by it and the seed of each request. The batches are seeded by the dataset itself. Default 0. */
  seed?: number
}

/**
 * Local training of one model, synchronous, made to run in its own thread. Parameters, gradient and optimizer moments are the shared
 * vectors; nothing else persists between two calls, so any other thread may change 'theta' between two steps.
 */
export interface Trainer {
  readonly layout: Layout
  /** Optimizer steps taken; decides the next batch and the place in the schedule. Set by a joiner or after a crash. */
  stepNumber: number
  /**
   * One optimizer step on the training batch with number {@link stepNumber}.
   * @throws ModelError 'not-finite' with {step, tensor} when the loss or a gradient is NaN or infinite: 'theta' is unchanged then.
   * @throws ModelError 'tensor-leak' when the engine holds more tensors after the step than before.
   * @throws ModelError 'evaluates-only' from a trainer that was made with `trains` false; {@link gradient} too.
   */
  step(): StepReport
  /** Loss over the validation split (its first `maxRows` rows if given) at the parameters in a vector of theta's length. */
  evaluate(vector?: string, maxRows?: number): EvaluationReport
  /** Mean loss at the parameters in `vector` on training batch `batchNumber`. Changes nothing. */
  lossAt(vector: string, batchNumber: number): number
  /** Gradient at 'theta' of training batch `batchNumber`, unclipped, into the vector 'gradient'; returns the mean loss. */
  gradient(batchNumber: number): number
  /** Text from the parameters in 'theta', the prompt not included. @throws ModelError 'not-a-text-model'. */
  generate(options: GenerateOptions): string
  /** Gives back the engine's tensors. The shared vectors stay. */
  dispose(): void
}
