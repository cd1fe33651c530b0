import { nearest } from '../rounding.ts'
import type { Dither } from './types.ts'

/** A bijection of 32-bit words that mixes well: Wellons' `lowbias32` (https://nullprogram.com/blog/2018/07/31/), `key` xored in its middle. */
export function mix(word: number, key: number): number {
  let h = word ^ (word >>> 16)
  h = Math.imul(h, 0x7feb352d) ^ key
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b)
  return (h ^ (h >>> 16)) >>> 0
}

/** The two words that stand for a seed: neighbouring seeds must not lead to shifted copies of one stream. */
export function ditherKeys({ seed }: Dither): { key0: number; key1: number } {
  const key0 = mix(seed, 0x9e3779b9)
  return { key0, key1: mix(key0, 0x3c6ef372) }
}

/**
 * value * factor rounded up or down, up with the probability of its fraction: in fixed point with 15 bits after the point, 15 random bits are
 * added and the fraction is cut off. One hash serves two values four apart, which is how the lanes of the SIMD kernel lie.
 */
export function roundAtRandom(value: number, factor: number, number: number, key0: number, key1: number): number {
  const word = mix((((number >>> 3) << 2) + (number & 3) + key0) | 0, key1)
  const random = (number & 4) === 0 ? word & 0x7fff : word >>> 17
  return (nearest(Math.fround(value * Math.fround(factor * 2 ** 15))) + random) >> 15
}
