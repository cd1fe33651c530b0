import { nearest } from '../rounding.ts'
import type { Dither } from './types.ts'

/** Odd, near 2³² divided by the golden ratio: its multiples are spread evenly. */
const WEYL = 0x9e3779b9

/** The last half of Wellons' 32-bit hash `lowbias32` (https://nullprogram.com/blog/2018/07/31/). */
function finish(word: number): number {
  const h = Math.imul(word ^ (word >>> 15), 0x846ca68b)
  return (h ^ (h >>> 16)) >>> 0
}

/** All of it. */
function hash(word: number): number {
  return finish(Math.imul(word ^ (word >>> 16), 0x7feb352d))
}

/** The two words that stand for a seed: neighbouring seeds must not lead to shifted copies of one stream. */
export function ditherKeys({ seed }: Dither): { key0: number; key1: number } {
  const key0 = hash(seed)
  return { key0, key1: hash(key0 + WEYL) }
}

/**
 * value * factor rounded up or down, up with the probability of its fraction: in fixed point with 15 bits after the point, 15 random bits are
 * added and the fraction is cut off. One word serves two values four apart, which is how the lanes of the SIMD kernel lie. Words are a hash of a
 * counter whose first multiplication is a Weyl sequence: for 15 bits of rounding that is random enough (no correlation between neighbours or
 * seeds in 400,000 values) and half the price.
 */
export function roundAtRandom(value: number, factor: number, number: number, key0: number, key1: number): number {
  const counter = ((number >>> 3) << 2) + (number & 3)
  const word = finish((Math.imul(counter, WEYL) + key0) ^ key1)
  const random = (number & 4) === 0 ? word & 0x7fff : word >>> 17
  return (nearest(Math.fround(value * Math.fround(factor * 2 ** 15))) + random) >> 15
}
