/** What this peer contributes: bytes for its next steps, from theta and its own data. See the two variants below. */
import { StarlingError } from '../errors.ts'
import type { StrategyModules } from '../strategy.ts'
import { encodeByte } from './byte.ts'
import { projectedGradient } from './estimate.ts'
import type { SpsaOptions } from './options.ts'
import { dotTask, driftTask, perturbTask } from './tasks.ts'
import type { WeightRule } from './weights.ts'

/** Contributions for consecutive steps, and how the training data look from here. */
export interface Contribution {
  bytes: number[]
  /** Training loss. */
  loss: number
  /** Size of what was found: |g|, or the norm of the gradients of the local steps. */
  gradientNorm: number
}

/** Makes the contributions of the steps from `step` on. */
export type Contribute = (step: number, signal: AbortSignal) => Promise<Contribution>

type Modules = Pick<StrategyModules, 'swarm' | 'learner'>

/** One byte: the two-point estimate along the direction of the step, on the training batch with the number of the step. */
export function twoPoint({ swarm, learner }: Modules, { epsilon, quantum, directions }: SpsaOptions): Contribute {
  return async (step, signal) => {
    const lossAt = async (sign: 1 | -1): Promise<number> => {
      // Both points are computed afresh from theta, which stays as it is: no rounding adds up, whoever dies when.
      await learner.compute(
        perturbTask,
        { run: swarm.run, author: swarm.self, step, sign, epsilon, directions },
        signal,
      )
      return learner.lossAt('candidate', step, signal)
    }
    const plus = await lossAt(1)
    const minus = await lossAt(-1)
    const gradient = projectedGradient(plus, minus, epsilon)
    return {
      bytes: [encodeByte(gradient, quantum)],
      loss: (plus + minus) / 2,
      gradientNorm: Math.abs(gradient),
    }
  }
}

/**
 * Ferret (arXiv 2409.06277): some local optimizer steps, and of the drift that they make the coordinates on seeded directions, a byte each. The
 * directions are signs of unit variance instead of the released code's truncated normals, whose variance of a third shortens the drift to a third.
 *
 * With K_b directions z per block b, Σ ⟨drift_b, z⟩ z / K_b is an unbiased estimate of drift_b, of cosine √(K_b / (K_b + d_b)). A byte counts as a
 * gradient, so it carries the negative of its coordinate.
 */
export function driftCoordinates(
  { swarm, learner }: Modules,
  options: SpsaOptions,
  { rule, steps }: { rule: WeightRule; steps: number },
): Contribute {
  const { quantum, innerSteps = 1, coordinates = 1, blocks = 1 } = options
  return async (step, signal) => {
    let loss = 0
    let squares = 0
    let taken = 0
    await learner.train(innerSteps, {
      signal,
      onStep(report) {
        loss += report.loss
        squares += report.gradientNorm ** 2
        taken++
      },
    })
    const count = Math.min(coordinates, steps - step + 1)
    // Also after an abort: it puts theta back to the parameters of the set.
    await learner.compute(driftTask, { rule })
    if (taken < innerSteps) {
      throw new StarlingError('aborted', 'the local steps were given up', {})
    }
    const projections = await learner.compute(dotTask, { run: swarm.run, author: swarm.self, from: step, count, rule })
    const perBlock = coordinates / blocks
    return {
      bytes: projections.map((projection) => encodeByte(-projection / perBlock, quantum)),
      loss: loss / taken,
      gradientNorm: Math.sqrt(squares / taken),
    }
  }
}
