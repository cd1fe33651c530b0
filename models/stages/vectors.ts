import type { VectorSpec } from '../../kernels/index.ts'
import { optimizerVectors, type TrainingConfig } from '../optimizers/index.ts'
import type { ModelCut } from './cut.ts'

/** Elements from the start of one place to the start of the next. */
export const placeLength = ({ sizes }: ModelCut): number => Math.max(...sizes.slice(1))

/** First element of a place in 'theta' and in all vectors of its length. */
export function placeBegin(cut: ModelCut, place: 'ends' | number): number {
  return place === 'ends' ? 0 : (cut.sizes[0] as number) + place * placeLength(cut)
}

/** Name of the vector in which the gradients of one peer with data are summed. */
export const accumulatorName = (accumulator: number): string =>
  accumulator === 0 ? 'gradient' : `gradient-${accumulator}`

/** Names of the optimizer's vectors. */
export const momentNames = (training: TrainingConfig): string[] => Object.keys(optimizerVectors(training.optimizer, 0))

/**
 * The vectors that a {@link StageTrainer} works on: 'theta', a gradient per accumulator and the optimizer's, all of one length and divided alike, and
 * 'stream' with room for a microbatch of the largest stream.
 */
export function stageVectors(training: TrainingConfig, cut: ModelCut): VectorSpec {
  const length = placeBegin(cut, cut.places)
  const gradients = Array.from({ length: cut.accumulators }, (_, index) => accumulatorName(index))
  return {
    ...Object.fromEntries(['theta', ...gradients].map((name) => [name, { type: 'float32' as const, length }])),
    ...optimizerVectors(training.optimizer, length),
    stream: { type: 'float32', length: cut.rows * Math.max(...cut.stream) },
  }
}
