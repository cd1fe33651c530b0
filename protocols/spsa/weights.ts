/**
 * What a contribution weighs: an integer that everyone computes from its step and the size of its round. The parameters are
 *
 *     theta = base - unit * A,   A = Σ W(step, n) * quanta(byte) * numerator of z,
 *
 * so `resolution` times the rate is carried by W and the rest by `unit`. Only + - * / and square roots are used: the same weights on every machine.
 */
import { type DirectionKind, GAUSSIAN_DIVISOR } from '../../kernels/index.ts'
import type { SCALINGS } from './options.ts'

type Scaling = (typeof SCALINGS)[number]

/**
 * W of a contribution at the full rate in a round of one. The sums grow with it, so it is no larger than the smallest W that matters needs: `sqrt` and
 * `mean` divide it by the root of the round's size and by the size. A weight that rounds to 0 has no effect.
 */
const RESOLUTION: Record<Scaling, number> = { sum: 64, sqrt: 256, mean: 1024 }

/** The options that weights depend on, as in the manifest. */
export interface WeightOptions {
  directions: DirectionKind
  scaling: Scaling
  learningRate: number
  quantum: number
  clip: number
  warmup: number
  finalRate: number
  blocks?: number
}

/** How bytes become parameters; plain data, so that compute tasks can be told. A function of the manifest alone. */
export interface WeightRule {
  directions: DirectionKind
  scaling: Scaling
  learningRate: number
  /** Parameters per unit of the sums. */
  unit: number
  /** Quanta that one byte counts at most, of either sign. */
  limit: number
  warmup: number
  finalRate: number
  /** Contributions of one author in the whole run. */
  steps: number
  /** Parts of the parameters; contribution number s is about part (s - 1) mod blocks. */
  blocks: number
}

/** The rule of a run. */
export function weightRule(options: WeightOptions, steps: number): WeightRule {
  const { directions, scaling, learningRate, quantum, clip, warmup, finalRate, blocks = 1 } = options
  const numerator = (learningRate * quantum) / RESOLUTION[scaling]
  return {
    directions,
    scaling,
    learningRate,
    unit: directions === 'sign' ? numerator : numerator / GAUSSIAN_DIVISOR,
    limit: Math.floor(clip / quantum),
    warmup,
    finalRate,
    steps,
    blocks,
  }
}

/** Share of the rate at a step (from 1): rises linearly to 1 at step `warmup`, then falls linearly to `finalRate` at the last step. */
export function scheduleAt({ warmup, finalRate, steps }: WeightRule, step: number): number {
  if (step < warmup) {
    return step / warmup
  }
  const start = Math.max(1, warmup)
  return steps > start ? 1 - ((1 - finalRate) * (step - start)) / (steps - start) : 1
}

/** The learning rate at a step, before the division by the round's size. */
export function rateAt(rule: WeightRule, step: number): number {
  return rule.learningRate * scheduleAt(rule, step)
}

/** Weight of the contributions for a step when `authors` have made theirs. */
export function weightOf(rule: WeightRule, step: number, authors: number): number {
  const divisor = { sum: 1, sqrt: Math.sqrt(authors), mean: authors }[rule.scaling]
  return Math.round((RESOLUTION[rule.scaling] * scheduleAt(rule, step)) / divisor)
}
