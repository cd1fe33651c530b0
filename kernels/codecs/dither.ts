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
 * Offset in (-1/2, 1/2) added to a value before it is rounded to the nearest integer: (h - 32767.5) / 65536 with 16 random bits h. One hash
 * serves two values four apart, which is how the lanes of the SIMD kernel lie.
 */
export function offset(number: number, key0: number, key1: number): number {
  const word = mix((((number >>> 3) << 2) + (number & 3) + key0) | 0, key1)
  const half = (number & 4) === 0 ? word & 0xffff : word >>> 16
  return (half - 32767.5) / 65536
}
