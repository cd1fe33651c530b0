import { log } from './portable-math.ts'

/**
 * Seeded random numbers of our own, from integer operations, + − × ÷ and √ only, so that one seed gives the same bits on every machine.
 * Generator: xoshiro128** (Blackman & Vigna 2018), seeded through splitmix32.
 */
export interface Generator {
  /** Uniform integer in [0, 2^32). */
  bits(): number
  /** Uniform in [0, 1) with 32 random bits. */
  uniform(): number
}

/** FNV-1a over UTF-16 code units: a stream number for a name. */
export function hashName(name: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

/** One generator per (seed, stream). `seed` is any safe integer; its low 53 bits count. */
export function createGenerator(seed: number, stream = ''): Generator {
  const low = seed >>> 0
  const high = Math.floor(seed / 0x100000000) >>> 0
  const next = splitmix((low ^ Math.imul(high, 0x9e3779b1) ^ hashName(stream)) >>> 0)
  return xoshiro(next(), next(), next(), next())
}

/** A generator with the draws that data sets need. */
export interface SeededRandom extends Generator {
  /** Uniform integer in [0, bound), without bias; 1 <= bound <= 2^32. */
  integer(bound: number): number
  /** Standard normal by the polar method (Marsaglia & Bray 1964), with a logarithm made of + − × ÷ (see portable-math.ts). */
  normal(): number
}

/**
 * One generator per list of parts, e.g. `seededRandom(seed, 'batch', shard, number)`: the parts are hashed to the 128 bits of the state, so
 * neighbouring numbers give unrelated streams and any place of a stream can be reached at once. Parts are told apart by type and length.
 */
export function seededRandom(...parts: readonly (string | number)[]): SeededRandom {
  const lanes = [0x811c9dc5, 0x9e3779b9, 0x85ebca6b, 0xc2b2ae35]
  for (const part of parts) {
    // JSON tells 1 from '1' and writes a number in the same digits everywhere; the tab cannot occur in it.
    const text = `${JSON.stringify(part)}\t`
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      for (let lane = 0; lane < 4; lane++) {
        const mixed = Math.imul(lanes[lane]! ^ code, 0x01000193 + 2 * lane)
        lanes[lane] = mixed ^ (mixed >>> (13 + lane))
      }
    }
  }
  // FNV mixes its last inputs poorly; one splitmix step per lane, chained, spreads them over the state.
  let carry = 0
  const state = lanes.map((lane) => {
    carry = splitmix((lane ^ carry) >>> 0)()
    return carry
  })
  const generator = xoshiro(state[0]!, state[1]!, state[2]!, state[3]!)
  let spare: number | undefined
  return {
    ...generator,
    integer(bound) {
      if (!Number.isInteger(bound) || bound < 1 || bound > 0x100000000)
        throw new RangeError(`no integer below ${bound}`)
      // Draws above the largest multiple of the bound are thrown away.
      const limit = 0x100000000 - (0x100000000 % bound)
      for (;;) {
        const bits = generator.bits()
        if (bits < limit) return bits % bound
      }
    },
    normal() {
      if (spare !== undefined) {
        const value = spare
        spare = undefined
        return value
      }
      for (;;) {
        const x = 2 * generator.uniform() - 1
        const y = 2 * generator.uniform() - 1
        const square = x * x + y * y
        if (square === 0 || square >= 1) continue
        const factor = Math.sqrt((-2 * log(square)) / square)
        spare = y * factor
        return x * factor
      }
    },
  }
}

function splitmix(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x9e3779b9) | 0
    let z = state ^ (state >>> 16)
    z = Math.imul(z, 0x21f0aaad)
    z ^= z >>> 15
    z = Math.imul(z, 0x735a2d97)
    return z ^ (z >>> 15)
  }
}

function xoshiro(first: number, second: number, third: number, fourth: number): Generator {
  let a = first
  let b = second
  let c = third
  // The state must not be all zero.
  let d = fourth | 1
  const bits = () => {
    const product = Math.imul(b, 5)
    const result = Math.imul((product << 7) | (product >>> 25), 9)
    const t = b << 9
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= t
    d = (d << 11) | (d >>> 21)
    return result >>> 0
  }
  return { bits, uniform: () => bits() / 0x100000000 }
}

/**
 * Fills `out` with numbers of mean 0 and the given standard deviation: sums of four uniform numbers of 16 bits (Irwin-Hall). Close to
 * normal, bounded at 3.46 deviations, and without the logarithm and cosine whose last bits differ between machines.
 */
export function fillBell(out: Float32Array, deviation: number, generator: Generator): void {
  // The sum of four integers uniform in [0, 65535] has mean 131070 and variance 4 (65536² − 1) / 12.
  const scale = deviation / Math.sqrt((65536 * 65536 - 1) / 3)
  for (let i = 0; i < out.length; i++) {
    const x = generator.bits()
    const y = generator.bits()
    out[i] = ((x & 0xffff) + (x >>> 16) + (y & 0xffff) + (y >>> 16) - 131070) * scale
  }
}
