/**
 * Variance-corrected averaging (Tian, Al-Ars, Kitsak & Hofstee 2024, "Vanishing Variance Problem in Fully Decentralized Neural-Network
 * Systems", arXiv 2404.04616): the average of k uncorrelated networks has 1/k of their weights' variance, too little for a signal to pass, so
 * each weight tensor is scaled back about its mean:
 *
 *     w <- (w - mean(w)) sqrt(target / var(w)) + mean(w)
 *
 * Here it is a guard: nothing is done where var(w) is at least {@link GUARD_RATIO} of the target, which is so for models from one start.
 *
 * Deviations: the paper's target is the mean variance of the received models; ours is the lower median of those that took part, the own one
 * included, because one message of ten times the scale moves a mean a hundredfold and the correction would then blow the own weights up. For
 * honest models the two are alike. Biases, gains of norms and counters are not corrected: name only weight matrices as tensors.
 */
import type { Message, TensorPart } from './types.ts'

/** A tensor whose variance fell below this share of the target is corrected. Halving uncorrelated models gives 0.5, sharing a start about 1. */
export const GUARD_RATIO = 0.8

/** A part of a tensor shorter than this is left alone: its variance is chance. */
export const MIN_PART = 64

/** A tensor that was corrected. */
export interface Correction {
  tensor: string
  /** Variance after mixing, before the correction, relative to the target. */
  ratio: number
}

/** Mean and (population) variance, in double precision; two passes, so that a large mean does not drown a small variance. */
export function moments(x: Float32Array): { mean: number; variance: number } {
  let sum = 0
  for (let i = 0; i < x.length; i++) {
    sum += x[i]!
  }
  const mean = sum / x.length
  let squares = 0
  for (let i = 0; i < x.length; i++) {
    squares += (x[i]! - mean) ** 2
  }
  return { mean, variance: squares / x.length }
}

/** The variance that each tensor part should keep: of own and of the messages with a say. To be taken before they are combined. */
export function targetVariances(
  own: Float32Array,
  messages: readonly Message[],
  coefficients: readonly number[],
  parts: readonly TensorPart[],
): number[] {
  const models = [own, ...messages.filter((_, i) => coefficients[i]! > 0).map(({ values }) => values)]
  return parts.map(({ offset, length }) => {
    const variances = models.map((values) => moments(values.subarray(offset, offset + length)).variance)
    variances.sort((a, b) => a - b)
    return variances[(variances.length - 1) >> 1]!
  })
}

/** Corrects, in place, the parts whose variance vanished, and says which. */
export function correctVariance(
  mixed: Float32Array,
  parts: readonly TensorPart[],
  targets: readonly number[],
): Correction[] {
  const corrections: Correction[] = []
  for (const [i, { name, offset, length }] of parts.entries()) {
    const target = targets[i]!
    const values = mixed.subarray(offset, offset + length)
    const { mean, variance } = moments(values)
    if (length < MIN_PART || variance === 0 || variance >= GUARD_RATIO * target) {
      continue
    }
    const factor = Math.sqrt(target / variance)
    for (let k = 0; k < values.length; k++) {
      values[k] = (values[k]! - mean) * factor + mean
    }
    corrections.push({ tensor: name, ratio: variance / target })
  }
  return corrections
}
