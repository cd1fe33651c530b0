/** Pauses that keep nodes from doing the same at the same time. */
import type { Random } from '../../protocols/index.ts'

/**
 * Pause before the next attempt: `first` after one failure, doubled by each further one up to `longest`; half of it at random, so that nodes that failed
 * together do not try again in step. In the unit of `first`.
 */
export function backOff(failures: number, first: number, longest: number, random: Random): number {
  // Beyond 2^30 nothing is of use as a pause, and the power must stay finite.
  const pause = Math.min(longest, first * 2 ** Math.min(Math.max(0, failures - 1), 30))
  return pause * (0.5 + random.uniform() / 2)
}

/** A pause of that length on average, from three to five quarters of it. */
export function jittered(pause: number, random: Random): number {
  return pause * (0.75 + random.uniform() / 2)
}
