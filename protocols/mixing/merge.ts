/**
 * One merge of all at the end ("A Single Merging Suffices: Recovering Server-based Learning Performance in Decentralized Learning", arXiv
 * 2507.06542): after sparse gossip the average of all models is far better than each of them. Average parameters only; optimizer moments and
 * counters stay each peer's own.
 */
import type { Kernels } from '../../kernels/index.ts'

/**
 * mean <- mean of `count` models, the `count`-th being `model`, and `mean` that of those before. Call it with count 1, 2, ... as the models
 * arrive: one model's memory serves any number of peers. Peers that must get the same bits take the models in the same order.
 *
 * Rounding: each call rounds twice, so the error after n models is about sqrt(n) roundings of a float32.
 */
export function addToMean(kernels: Kernels, mean: Float32Array, model: Float32Array, count: number): void {
  if (count === 1) {
    mean.set(model)
    return
  }
  kernels.scale(mean, (count - 1) / count)
  kernels.axpy(mean, 1 / count, model)
}

/** Root mean square distance of the models to their mean, relative to the norm of the mean: how far peers are from agreeing. */
export function consensusError(kernels: Kernels, mean: Float32Array, models: readonly Float32Array[]): number {
  const squares = models.reduce((sum, model) => sum + kernels.squaredDistance(model, mean), 0)
  return Math.sqrt(squares / models.length / kernels.sumSquares(mean))
}

/** Of one model, on data that is the same for all. */
export interface Score {
  loss: number
  accuracy?: number
}

/** What a merge of all would bring now. */
export interface CounterfactualGain {
  /** Mean loss of the local models minus the loss of the merged one: positive when merging helps. */
  loss: number
  /** Accuracy of the merged model minus the mean accuracy of the local ones; missing when one of them has none. */
  accuracy?: number
}

/** The counterfactual merge metric: the score of the average of all models, which nobody trains on, against the mean of their scores. */
export function counterfactualGain(merged: Score, locals: readonly Score[]): CounterfactualGain {
  const meanOf = (read: (score: Score) => number): number =>
    locals.reduce((sum, score) => sum + read(score), 0) / locals.length
  const loss = meanOf((score) => score.loss) - merged.loss
  const accuracy = (merged.accuracy ?? Number.NaN) - meanOf((score) => score.accuracy ?? Number.NaN)
  return Number.isNaN(accuracy) ? { loss } : { loss, accuracy }
}
