/** From what was measured to how much each message pulls. */
import { StarlingError } from '../errors.ts'
import type { Measured, MixingRule } from './types.ts'

/**
 * One coefficient per message; 0 for those that the guards refused, which the rule does not get to see.
 *
 * Throws StarlingError 'bad-weight' when a weight is not a positive finite number, 'duplicate-peer' when two messages are of one peer: who sends
 * twice must not count twice.
 */
export function coefficientsOf(
  measured: readonly Measured[],
  weights: readonly number[],
  ownWeight: number,
  rule: MixingRule,
): number[] {
  for (const weight of [ownWeight, ...weights]) {
    if (!(weight > 0 && Number.isFinite(weight))) {
      throw new StarlingError('bad-weight', `a weight must be a positive number, not ${weight}`, { weight })
    }
  }
  const seen = new Set<string>()
  for (const { peer } of measured) {
    if (seen.has(peer)) {
      throw new StarlingError('duplicate-peer', `two messages of ${peer} in one mixing step`, { peer })
    }
    seen.add(peer)
  }
  const passed = measured.flatMap(({ refused }, i) => (refused === undefined ? [i] : []))
  const total = passed.reduce((sum, i) => sum + weights[i]!, ownWeight)
  const chosen = rule({
    peers: passed.map((i) => measured[i]!.peer),
    distances: passed.map((i) => measured[i]!.distance),
    shares: passed.map((i) => weights[i]! / total),
    refused: measured.length - passed.length,
  })
  const coefficients = measured.map(() => 0)
  for (const [at, i] of passed.entries()) {
    coefficients[i] = chosen[at]!
  }
  return coefficients
}
