import { checkLengths } from '../checks.ts'
import { laneSum } from '../rounding.ts'
import { chacha8Block, keyWords } from './chacha.ts'
import { checkCount, checkFirst, checkKey } from './checks.ts'
import { type DirectionKernels, type DirectionKind, GAUSSIAN_DIVISOR } from './types.ts'

const f = Math.fround

/** Ones in a word of 32 bits. */
function ones(word: number): number {
  let count = 0
  for (let rest = word; rest !== 0; rest &= rest - 1) count++
  return count
}

/** Numerators of z for elements `first`, `first` + 1, ..., `length` of them; see {@link DirectionKind}. */
function numerators(key: Uint8Array, kind: DirectionKind, first: number, length: number): Int8Array {
  const words = keyWords(key)
  const z = new Int8Array(length)
  const group = kind === 'sign' ? 2048 : 64
  const blocks = [0, 1, 2, 3].map(() => new Uint32Array(16))
  for (let start = 0; start < length; start += group) {
    for (let lane = 0; lane < 4; lane++) chacha8Block(words, (4 * (first + start)) / group + lane, blocks[lane]!)
    for (let i = start; i < Math.min(start + group, length); i++) {
      const block = blocks[i & 3]!
      if (kind === 'sign') z[i] = (block[(i >> 7) & 15]! >>> ((i >> 2) & 31)) & 1 ? 1 : -1
      else z[i] = ones(block[(i >> 2) & 15]!) - 16
    }
  }
  return z
}

/** The kernels of directions in plain TypeScript, which say what those of kernels/assembly must compute, to the bit. */
export const directionTwins: DirectionKernels = {
  addDirections(sums, keys, coefficients, count, kind, first) {
    checkFirst('addDirections', first, sums.length)
    checkCount('addDirections', keys, coefficients, count)
    for (let c = 0; c < count; c++) {
      const z = numerators(keys.subarray(32 * c, 32 * c + 32), kind, first, sums.length)
      const coefficient = coefficients[c]!
      // A stored int32 is the sum modulo 2^32: every product is below 2^36, where doubles are exact.
      for (let i = 0; i < sums.length; i++) sums[i] = sums[i]! + coefficient * z[i]!
    }
  },

  perturb(out, base, key, epsilon, kind, first) {
    checkLengths('perturb', { out, base })
    checkFirst('perturb', first, out.length)
    checkKey('perturb', key)
    const z = numerators(key, kind, first, out.length)
    const scale = f(kind === 'sign' ? epsilon : epsilon / GAUSSIAN_DIVISOR)
    for (let i = 0; i < out.length; i++) out[i] = f(base[i]! + f(scale * z[i]!))
  },

  fromSums(out, base, sums, unit) {
    checkLengths('fromSums', { out, base, sums })
    for (let i = 0; i < out.length; i++) out[i] = f(base[i]! - unit * sums[i]!)
  },

  maxAbs(sums) {
    let largest = 0
    for (let i = 0; i < sums.length; i++) largest = Math.max(largest, Math.abs(sums[i]!))
    return largest
  },

  dotDirection(x, key, kind, first) {
    checkFirst('dotDirection', first, x.length)
    checkKey('dotDirection', key)
    const z = numerators(key, kind, first, x.length)
    const sum = laneSum(x.length, (i) => x[i]! * z[i]!)
    return kind === 'sign' ? sum : sum / GAUSSIAN_DIVISOR
  },
}
