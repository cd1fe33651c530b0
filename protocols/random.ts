/**
 * Seeded randomness: the same seed gives the same numbers on every machine, because nothing but integer arithmetic is used.
 * For draws that peers must agree on and for simulations; never for keys.
 */
import { sha256 } from './hash.ts'
import type { Random } from './ports.ts'

/**
 * A random stream for the given words, e.g. `seededRandom(run, peer, 'jitter')`. Words are separated, so ('ab', 'c') and
 * ('a', 'bc') give different streams.
 *
 * The generator is xoshiro128** (Blackman & Vigna 2018, https://prng.di.unimi.it), its 128 bits of state being the head of a
 * SHA-256 of the words.
 */
export function seededRandom(...seed: readonly (string | number)[]): Random {
  const digest = sha256(JSON.stringify(['starling-random', ...seed]))
  const words = new DataView(digest.buffer, digest.byteOffset, digest.byteLength)
  // The state must not be all zero; the odds are 2^-128, the guard costs nothing.
  let a = words.getUint32(0, true) | 1
  let b = words.getUint32(4, true)
  let c = words.getUint32(8, true)
  let d = words.getUint32(12, true)

  const next = (): number => {
    const product = Math.imul(b, 5)
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0
    const shifted = b << 9
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= shifted
    d = (d << 11) | (d >>> 21)
    return result
  }

  return {
    uniform() {
      // 53 bits, the precision of a double below 1.
      return ((next() >>> 5) * 67_108_864 + (next() >>> 6)) / 9_007_199_254_740_992
    },
    integer(bound) {
      if (!Number.isInteger(bound) || bound < 1 || bound > 4_294_967_296) {
        throw new RangeError(`the bound of a random integer must be a whole number from 1 to 2^32, not ${bound}`)
      }
      // Draws in the last, incomplete run of `bound` values are thrown away, or small values would come up more often.
      const limit = 4_294_967_296 - (4_294_967_296 % bound)
      for (;;) {
        const value = next()
        if (value < limit) {
          return value % bound
        }
      }
    },
  }
}

/** A new array with the items in random order (Fisher-Yates). */
export function shuffled<T>(items: readonly T[], random: Random): T[] {
  const result = [...items]
  for (let last = result.length - 1; last > 0; last--) {
    const other = random.integer(last + 1)
    const kept = result[last] as T
    result[last] = result[other] as T
    result[other] = kept
  }
  return result
}

/**
 * A draw from the normal distribution of mean 0 and deviation 1 (Box & Muller 1958). `Math.log` and `Math.cos` may differ in the last bit
 * between machines: for simulations, not for draws that peers must agree on.
 */
export function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform())
}
