/** Local training of one model over shared vectors. */
import type { VectorSpec } from '../../kernels/index.ts'
import { layoutOf, type ModelConfig } from '../architectures/index.ts'
import { optimizerVectors, type TrainingConfig } from '../optimizers/index.ts'
import { LocalTrainer } from './trainer.ts'
import type { Trainer, TrainerOptions } from './types.ts'

export type { NamedVectors, Trainer, TrainerOptions } from './types.ts'

/**
 * The vectors that a trainer works on: 'theta', 'gradient' and the optimizer's; the last ones belong into a checkpoint. One that only evaluates
 * (`trains` false) has 'theta' alone: a quarter of the memory with AdamW.
 */
export function trainerVectors(model: ModelConfig, training: TrainingConfig, trains = true): VectorSpec {
  const { length } = layoutOf(model)
  if (!trains) return { theta: { type: 'float32', length } }
  return {
    theta: { type: 'float32', length },
    gradient: { type: 'float32', length },
    ...optimizerVectors(training.optimizer, length),
  }
}

/**
 * Makes a trainer; nothing is computed yet.
 * @throws ModelError 'bad-model', 'vector-length'
 */
export function createTrainer(options: TrainerOptions): Trainer {
  return new LocalTrainer(options)
}
