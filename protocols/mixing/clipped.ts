/** ClippedGossip: nobody is dropped, but nobody pulls harder than a model at the radius would. */
import { nearestOf } from './nearest.ts'
import type { MixingRule } from './types.ts'

/**
 * x_i <- x_i + sum_j W_ij clip(x_j - x_i, tau) with clip(z, tau) = z min(1, tau/|z|) (He, Karimireddy & Jaggi 2022, "Byzantine-Robust
 * Decentralized Learning via ClippedGossip", arXiv 2202.01545, algorithm 1). Its guarantee holds for a small faulty weight only, relative to
 * the spectral gap; docs/robustness.md has the measured limit.
 *
 * The radius tau: a fixed number, or, with `faulty` = f, the largest distance left after the f farthest are set aside. The paper's radius
 * needs the honest variance, which nobody knows, and the authors' code takes a constant or the second-largest distance (f = 1).
 */
export function clipped(radius: number | { faulty: number }): MixingRule {
  return ({ distances, shares, refused }) => {
    const tau = typeof radius === 'number' ? radius : radiusOf(distances, radius.faulty - refused)
    return shares.map((share, i) => (distances[i]! <= tau ? share : (share * tau) / distances[i]!))
  }
}

function radiusOf(distances: readonly number[], faulty: number): number {
  const last = nearestOf(distances, distances.length - Math.max(0, faulty)).at(-1)
  return last === undefined ? 0 : distances[last]!
}
