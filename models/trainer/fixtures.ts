/** Tiny models and data sets for the tests of the trainer. */
import { loadKernels, SharedVectors } from '../../kernels/index.ts'
import { initialize, layoutOf, type ModelConfig } from '../architectures/index.ts'
import type { TrainingConfig } from '../optimizers/index.ts'
import { createGenerator } from '../random.ts'
import type { Batch, Dataset, Engine } from '../types.ts'
import { createTrainer, type Trainer, trainerVectors } from './index.ts'

export const tinyModels: Record<string, ModelConfig> = {
  decoder: { architecture: 'decoder', vocabulary: 11, context: 6, layers: 2, width: 16, heads: 2, hidden: 12 },
  'decoder with grouped keys and tied embedding': {
    architecture: 'decoder',
    vocabulary: 11,
    context: 6,
    layers: 1,
    width: 16,
    heads: 4,
    keyValueHeads: 2,
    hidden: 12,
    tied: true,
  },
  cnn: { architecture: 'cnn', height: 9, width: 8, channels: 2, classes: 5, filters: [4, 3], hidden: 6 },
  mlp: { architecture: 'mlp', height: 3, width: 4, channels: 1, classes: 4, hidden: [7, 5] },
}

/** Random data with a rule in it: the next token is the last one plus one; an image's label is the brightest of its classes' pixels. */
export function tinyDataset(model: ModelConfig): Dataset {
  const batch = (number: number, rows: number): Batch => {
    const generator = createGenerator(number, 'tiny')
    if (model.architecture === 'decoder') {
      const { context, vocabulary } = model
      const inputs = new Int32Array(rows * context)
      for (let i = 0; i < inputs.length; i++) {
        inputs[i] = i % context === 0 ? generator.bits() % vocabulary : ((inputs[i - 1] as number) + 1) % vocabulary
      }
      const targets = inputs.map((token) => (token + 1) % vocabulary)
      return { kind: 'text', rows, context, inputs, targets }
    }
    const { height, width, channels, classes } = model
    const size = height * width * channels
    const pixels = Float32Array.from({ length: rows * size }, () => generator.uniform())
    const labels = new Int32Array(rows)
    for (let row = 0; row < rows; row++) {
      const scores = pixels.subarray(row * size, row * size + classes)
      labels[row] = scores.indexOf(Math.max(...scores))
    }
    return { kind: 'image', rows, height, width, channels, pixels, labels }
  }
  const size = model.architecture === 'decoder' ? model.vocabulary : model.classes
  return {
    kind: model.architecture === 'decoder' ? 'text' : 'image',
    classes: size,
    ...(model.architecture === 'decoder'
      ? {
          tokenizer: {
            size,
            encode: (text: string) => Int32Array.from(text, (letter) => letter.charCodeAt(0) - 97),
            decode: (tokens: Int32Array | readonly number[]) =>
              Array.from(tokens, (token) => String.fromCharCode(97 + token)).join(''),
          },
        }
      : {}),
    batch,
    *validation(rows) {
      yield batch(1_000_000, rows)
      yield batch(1_000_001, Math.ceil(rows / 2))
    },
  }
}

export interface TinyTrainer {
  trainer: Trainer
  vectors: SharedVectors
}

/** A trainer with its own memory, initialized from seed 1. */
export function tinyTrainer(engine: Engine, model: ModelConfig, training: Partial<TrainingConfig> = {}): TinyTrainer {
  const full: TrainingConfig = { batch: 4, steps: 100, optimizer: { name: 'adamw', learningRate: 0.01 }, ...training }
  const spec = {
    ...trainerVectors(model, full),
    candidate: { type: 'float32' as const, length: layoutOf(model).length },
  }
  const vectors = SharedVectors.create(spec)
  const layout = layoutOf(model)
  initialize(layout, model, 1, vectors.float32('theta'))
  const dataset = tinyDataset(model)
  const trainer = createTrainer({ engine, kernels: loadKernels(vectors), vectors, model, training: full, dataset })
  return { trainer, vectors }
}
