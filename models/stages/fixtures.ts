/** Tiny models cut into stages, for tests. */
import { loadKernels, SharedVectors } from '../../kernels/index.ts'
import type { ModelConfig } from '../architectures/index.ts'
import type { TrainingConfig } from '../optimizers/index.ts'
import { tinyDataset } from '../trainer/fixtures.ts'
import type { Engine } from '../types.ts'
import { cutModel, type ModelCut, StageTrainer, type StageTrainerOptions, stageVectors } from './index.ts'
import { accumulatorName, placeBegin } from './vectors.ts'

export const stageModels = {
  decoder: { architecture: 'decoder', vocabulary: 11, context: 6, layers: 4, width: 16, heads: 2, hidden: 12 },
  'decoder with grouped keys and tied embedding': {
    architecture: 'decoder',
    vocabulary: 11,
    context: 6,
    layers: 3,
    width: 16,
    heads: 4,
    keyValueHeads: 2,
    hidden: 12,
    tied: true,
  },
  cnn: { architecture: 'cnn', height: 9, width: 8, channels: 2, classes: 5, filters: [4, 3], hidden: 6 },
  mlp: { architecture: 'mlp', height: 3, width: 4, channels: 1, classes: 4, hidden: [7, 5, 5, 6] },
} as const satisfies Record<string, ModelConfig>

/** Two microbatches of two rows. */
export const tinyTraining: TrainingConfig = {
  batch: 4,
  microbatch: 2,
  steps: 100,
  clip: 0,
  optimizer: { name: 'adamw', learningRate: 0.01 },
}

export interface TinyStages {
  trainer: StageTrainer
  vectors: SharedVectors
  cut: ModelCut
  options: StageTrainerOptions
}

/** A peer with a place for each stage, all parts at the start of seed 1: stage k lies in place k - 1. */
export function tinyStages(
  engine: Engine,
  model: ModelConfig,
  stages: number | readonly number[],
  more: { training?: TrainingConfig; accumulators?: number; microbatches?: number } = {},
): TinyStages {
  const { training = tinyTraining, accumulators = 1, microbatches = 2 } = more
  const places = typeof stages === 'number' ? stages : stages.length
  const cut = cutModel(model, { stages, places, microbatches, accumulators }, training.batch)
  const vectors = SharedVectors.create(stageVectors(training, cut))
  const options = {
    engine,
    kernels: loadKernels(vectors),
    vectors,
    model,
    training,
    cut,
    dataset: tinyDataset(model),
    seed: 1,
  }
  const trainer = new StageTrainer(options)
  trainer.initial(0, 'ends')
  for (let stage = 1; stage <= cut.stages; stage++) trainer.initial(stage, stage - 1)
  return { trainer, vectors, cut, options }
}

/** One microbatch along a path of places and back; returns the sum of its losses. */
export function passMicrobatch(
  { trainer, cut }: TinyStages,
  batch: number,
  microbatch: number,
  path: readonly number[] = Array.from({ length: cut.stages }, (_, place) => place),
  accumulator = 0,
): number {
  const source = { kind: 'training', batch, microbatch } as const
  const rows = trainer.embed(source, 100)
  for (const place of path) trainer.forward(place, rows, place)
  const { loss } = trainer.loss(source, accumulator)
  for (const place of path.toReversed()) trainer.backward(place, accumulator)
  trainer.backward(100, accumulator)
  return loss
}

/** The parts of a vector, [ends, stage 1, ...], where stage k lies in place k - 1. */
export function partsOf({ vectors, cut }: TinyStages, name: string): Float32Array[] {
  const vector = vectors.float32(name)
  return cut.sizes.map((size, part) => {
    const begin = placeBegin(cut, part === 0 ? 'ends' : part - 1)
    return vector.subarray(begin, begin + size)
  })
}

/** The same of a gradient. */
export const gradientsOf = (stages: TinyStages, accumulator = 0) => partsOf(stages, accumulatorName(accumulator))
