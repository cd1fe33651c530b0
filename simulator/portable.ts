/** Draws that are the same on every machine: from + − × ÷ √ only. */
import { portable } from '../models/index.ts'
import type { Random } from '../protocols/index.ts'

/** A draw from the normal distribution of mean 0 and deviation 1 (Marsaglia & Bray 1964). */
export function portableNormal(random: Random): number {
  for (;;) {
    const x = 2 * random.uniform() - 1
    const y = 2 * random.uniform() - 1
    const square = x * x + y * y
    if (square > 0 && square < 1) {
      return x * Math.sqrt((-2 * portable.log(square)) / square)
    }
  }
}

/** A draw from the log-normal distribution with that median; `spread` is the deviation of the logarithm. */
export function logNormal(median: number, spread: number, random: Random): number {
  return spread === 0 ? median : median * portable.exp(spread * portableNormal(random))
}

/** A draw from the exponential distribution with that mean. */
export function exponential(mean: number, random: Random): number {
  return -mean * portable.log(1 - random.uniform())
}
