/** What a run says about local training, and the defaults that go with each model. */
import type * as z from 'zod'
import type { ModelConfig } from '../architectures/config.ts'
import { real, table, whole, word } from '../fields.ts'
import type { OptimizerConfig, TrainingConfig } from '../optimizers/config.ts'

/** Schema of {@link TrainingSpec}. Everything may be left out; {@link resolveTraining} fills it in for the model. */
export const trainingSchema = table({
  /** Rows (sequences or images) per optimizer step. */
  batch: whole(1, 65536).optional(),
  /** Rows computed at once; the rest is accumulated. */
  microbatch: whole(1, 65536).optional(),
  /** Optimizer steps of the whole run; the length of the schedule. */
  steps: whole(1, 1_000_000_000).optional(),
  optimizer: word(['adamw', 'sgd']).optional(),
  /** Peak of the schedule. */
  learningRate: real(0, 100, { above: true }).optional(),
  /** Steps of linear rise. */
  warmup: whole(0, 1_000_000_000).optional(),
  /** The cosine ends at this share of the peak. */
  finalLearningRate: real(0, 1).optional(),
  /** Largest L2 norm of the gradient; 0 turns clipping off. */
  clip: real(0, 1e6).optional(),
  weightDecay: real(0, 10).optional(),
  beta1: real(0, 0.9999).optional(),
  beta2: real(0, 0.99999).optional(),
  epsilon: real(0, 1, { above: true }).optional(),
  /** SGD only. */
  momentum: real(0, 0.9999).optional(),
  /** Steps between two evaluations on the validation split. */
  evaluateEvery: whole(1, 1_000_000_000).optional(),
}).superRefine((training, context) => {
  const foreign = training.optimizer === 'sgd' ? (['beta1', 'beta2', 'epsilon'] as const) : (['momentum'] as const)
  for (const key of foreign) {
    if (training[key] === undefined) continue
    const name = training.optimizer ?? 'adamw'
    const message = `has no meaning with optimizer ${name}; leave it out`
    context.addIssue({ code: 'custom', message, path: [key], input: training[key] })
  }
})

/** The part `training` of a run. */
export type TrainingSpec = z.infer<typeof trainingSchema>

/** How one peer trains, with nothing left to default. */
export type ResolvedTraining = Required<TrainingConfig> & {
  /** Steps between two evaluations on the validation split. */
  evaluateEvery: number
}

interface Defaults {
  batch: number
  steps: number
  learningRate: { adamw: number; sgd: number }
  weightDecay: { adamw: number; sgd: number }
  beta2: number
}

/** AdamW's rate falls with width as in maximal update parametrization: 3e-3 at 128, 1.5e-3 at 256, 7.5e-4 at 512 (Yang et al. 2022). */
function defaultsOf(model: ModelConfig): Defaults {
  if (model.architecture === 'decoder') {
    const rate = Math.min(0.003, 0.384 / model.width)
    return {
      batch: 16,
      steps: 2000,
      learningRate: { adamw: rate, sgd: 0.1 },
      weightDecay: { adamw: 0.1, sgd: 0 },
      // Steps of a thousand tokens are noisy: the longer memory ends 0.06 nats per byte lower than 0.95 after 300 steps of gpt-nano.
      beta2: 0.99,
    }
  }
  return {
    batch: 64,
    steps: 500,
    learningRate: { adamw: 0.002, sgd: 0.05 },
    weightDecay: { adamw: 0.01, sgd: 0.0001 },
    beta2: 0.99,
  }
}

/** Rows computed at once unless the run says otherwise: what keeps a step's memory small without costing speed. */
const MICROBATCH = { decoder: 16, cnn: 256, mlp: 256 }

/** Fills in what a run leaves out. Pure: every peer gets the same from the same run. */
export function resolveTraining(training: TrainingSpec, model: ModelConfig): ResolvedTraining {
  const defaults = defaultsOf(model)
  const name = training.optimizer ?? 'adamw'
  const batch = training.batch ?? defaults.batch
  const steps = training.steps ?? defaults.steps
  const learningRate = training.learningRate ?? defaults.learningRate[name]
  const weightDecay = training.weightDecay ?? defaults.weightDecay[name]
  const optimizer: OptimizerConfig =
    name === 'sgd'
      ? { name, learningRate, weightDecay, momentum: training.momentum ?? 0.9 }
      : {
          name,
          learningRate,
          weightDecay,
          beta1: training.beta1 ?? 0.9,
          beta2: training.beta2 ?? defaults.beta2,
          epsilon: training.epsilon ?? 1e-8,
        }
  return {
    batch,
    microbatch: Math.min(batch, training.microbatch ?? MICROBATCH[model.architecture]),
    steps,
    optimizer,
    warmup: Math.min(training.warmup ?? Math.min(100, Math.floor(steps / 20)), steps),
    finalRate: training.finalLearningRate ?? 0.1,
    clip: training.clip ?? 1,
    evaluateEvery: training.evaluateEvery ?? Math.max(1, Math.min(100, Math.floor(steps / 20))),
  }
}
