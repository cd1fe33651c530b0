/** Nearest-neighbour averaging around the own model. */
import type { Group, MixingRule } from './types.ts'

/**
 * MoNNA's rule (Farhadkhani et al. 2023, "Robust Collaborative Learning with Linear Gradient Overhead", arXiv 2209.10931, algorithm 1): of
 * the n - f - 1 received models the `faulty` = f farthest from the own one are dropped, and the n - 2f left, own included, are averaged.
 * Whoever has f or fewer liars among its messages averages only models that are as near to its own as an honest one.
 *
 * The paper's peers also send momentum-averaged models (m <- b m + (1 - b) g; theta <- theta - lr m with b 0.99): without it stochastic
 * noise hides small attacks. That is the local optimizer's part.
 *
 * Deviations: weights instead of a plain average, so that interval weights apply to those kept; messages that
 * the guards refused count among the f; and a group of f or fewer is dropped whole, since no one in it is known to be honest.
 */
export function nearest(faulty: number): MixingRule {
  return (group) => {
    const left = Math.max(0, faulty - group.refused)
    const kept = new Set(nearestOf(group.distances, group.distances.length - left))
    return renormalized(group, (i) => kept.has(i))
  }
}

/** Indices of the `count` smallest distances; of two equal ones the earlier. */
export function nearestOf(distances: readonly number[], count: number): number[] {
  return distances
    .map((distance, i) => ({ distance, i }))
    .sort((a, b) => a.distance - b.distance || a.i - b.i)
    .slice(0, Math.max(0, count))
    .map(({ i }) => i)
}

/** Shares of those kept, scaled so that they and the own share add up to 1; 0 for the others. */
export function renormalized({ shares }: Group, keeps: (i: number) => boolean): number[] {
  const own = 1 - shares.reduce((sum, share) => sum + share, 0)
  const total = shares.reduce((sum, share, i) => sum + (keeps(i) ? share : 0), own)
  return shares.map((share, i) => (keeps(i) ? share / total : 0))
}
