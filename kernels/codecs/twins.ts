import { LARGEST_FLOAT32, SMALLEST_MAGNITUDE } from '../constants.ts'
import { nearest } from '../rounding.ts'
import { cannotCode, checkBlocks, checkDither, checkHalves } from './checks.ts'
import { ditherKeys, roundAtRandom } from './dither.ts'
import { topKTwins } from './topk.ts'
import { CODEC_BLOCK, type CodecKernels, LARGEST_CODED } from './types.ts'

const f = Math.fround

/** Calls `body` for every block of `length` values, with its number, its first value and the end of it. */
function eachBlock(length: number, body: (block: number, start: number, end: number) => void): void {
  for (let block = 0, start = 0; start < length; block++, start += CODEC_BLOCK) {
    body(block, start, Math.min(start + CODEC_BLOCK, length))
  }
}

/** Writes the scale of one block and returns the factor that takes its values to -most..most. */
function scaleOf(
  kernel: string,
  x: Float32Array,
  scales: Float32Array,
  block: number,
  end: number,
  most: number,
): number {
  let largest = 0
  for (let i = block * CODEC_BLOCK; i < end; i++) largest = Math.max(largest, Math.abs(x[i]!))
  if (!(largest <= LARGEST_CODED)) throw cannotCode(kernel, block)
  const small = largest < SMALLEST_MAGNITUDE
  scales[block] = small ? 0 : f(largest / most)
  return small ? 0 : f(most / largest)
}

/** The sum of magnitudes / 256 of one block: 16 interleaved sums joined in the order of the SIMD kernel, then the tail. */
function sumMagnitudes(x: Float32Array, start: number, end: number): number {
  const lanes = new Float32Array(16)
  const vectorized = end - ((end - start) % 16)
  for (let i = start; i < vectorized; i++) {
    const lane = (i - start) % 16
    lanes[lane] = f(lanes[lane]! + f(Math.abs(x[i]!) / 256))
  }
  const joined = [0, 1, 2, 3].map((k) => f(f(lanes[k]! + lanes[k + 4]!) + f(lanes[k + 8]! + lanes[k + 12]!)))
  let sum = f(f(joined[0]! + joined[2]!) + f(joined[1]! + joined[3]!))
  for (let i = vectorized; i < end; i++) sum = f(sum + f(Math.abs(x[i]!) / 256))
  return sum
}

const word = new Float32Array(1)
const bitsOfWord = new Int32Array(word.buffer)

/** The half nearest to a finite value below 65520, ties to even, as 16 bits. */
function toHalf(value: number): number {
  word[0] = value
  const sign = bitsOfWord[0]! < 0 ? 0x8000 : 0
  const magnitude = Math.abs(value)
  // Below 2^-14 halves are multiples of 2^-24; above, 10 bits follow the leading one.
  if (magnitude < 2 ** -14) return sign | nearest(magnitude * 2 ** 24)
  const bits = bitsOfWord[0]! & 0x7fffffff
  const exponent = (bits >>> 23) - 127
  // A mantissa that rounds up to 2 carries into the exponent.
  return sign | (((exponent + 15) << 10) + (nearest(magnitude * 2 ** (10 - exponent)) - 1024))
}

function fromHalf(half: number): number {
  const exponent = (half >>> 10) & 31
  const mantissa = half & 1023
  const magnitude = exponent === 0 ? mantissa * 2 ** -24 : (1024 + mantissa) * 2 ** (exponent - 25)
  return half & 0x8000 ? -magnitude : magnitude
}

/** The kernels of the codes in plain TypeScript; see `twins` in kernels/twins.ts. */
export const codecTwins: CodecKernels = {
  encodeInt8(x, codes, scales) {
    checkBlocks('encodeInt8', 8, x, codes, scales)
    eachBlock(x.length, (block, start, end) => {
      const inverse = scaleOf('encodeInt8', x, scales, block, end, 127)
      for (let i = start; i < end; i++) codes[i] = nearest(f(x[i]! * inverse))
    })
  },

  encodeInt8Stochastic(x, codes, scales, dither) {
    checkBlocks('encodeInt8Stochastic', 8, x, codes, scales)
    checkDither('encodeInt8Stochastic', dither, x)
    const { key0, key1 } = ditherKeys(dither)
    eachBlock(x.length, (block, start, end) => {
      const inverse = scaleOf('encodeInt8Stochastic', x, scales, block, end, 127)
      for (let i = start; i < end; i++) {
        codes[i] = roundAtRandom(x[i]!, inverse, dither.first + i, key0, key1)
      }
    })
  },

  decodeInt8(codes, scales, out) {
    checkBlocks('decodeInt8', 8, out, codes, scales)
    for (let i = 0; i < out.length; i++) out[i] = f(codes[i]! * scales[Math.floor(i / CODEC_BLOCK)]!)
  },

  encodeInt4(x, codes, scales, dither) {
    checkBlocks('encodeInt4', 4, x, codes, scales)
    checkDither('encodeInt4', dither, x)
    const { key0, key1 } = ditherKeys(dither)
    eachBlock(x.length, (block, start, end) => {
      const inverse = scaleOf('encodeInt4', x, scales, block, end, 7)
      const code = (i: number): number =>
        i < end ? roundAtRandom(x[i]!, inverse, dither.first + i, key0, key1) & 15 : 0
      const half = Math.ceil((end - start) / 2)
      for (let j = 0; j < half; j++) codes[start / 2 + j] = code(start + j) | (code(start + half + j) << 4)
    })
  },

  decodeInt4(codes, scales, out) {
    checkBlocks('decodeInt4', 4, out, codes, scales)
    const signed = (nibble: number): number => (nibble < 8 ? nibble : nibble - 16)
    eachBlock(out.length, (block, start, end) => {
      const half = Math.ceil((end - start) / 2)
      for (let i = start; i < end; i++) {
        const upper = i - start >= half
        const byte = codes[start / 2 + (i - start) - (upper ? half : 0)]!
        out[i] = f(signed(upper ? byte >>> 4 : byte & 15) * scales[block]!)
      }
    })
  },

  encodeSign(x, signs, scales) {
    checkBlocks('encodeSign', 1, x, signs, scales)
    eachBlock(x.length, (block, start, end) => {
      const mean = f(f(sumMagnitudes(x, start, end) / (end - start)) * 256)
      if (!(mean <= LARGEST_FLOAT32)) throw cannotCode('encodeSign', block)
      scales[block] = mean
      for (let i = start; i < end; i += 8) {
        let byte = 0
        for (let k = i; k < Math.min(i + 8, end); k++) {
          if (x[k]! < 0 || Object.is(x[k], -0)) byte |= 1 << (k & 7)
        }
        signs[i >>> 3] = byte
      }
    })
  },

  decodeSign(signs, scales, out) {
    checkBlocks('decodeSign', 1, out, signs, scales)
    for (let i = 0; i < out.length; i++) {
      const scale = scales[Math.floor(i / CODEC_BLOCK)]!
      out[i] = (signs[i >>> 3]! >>> (i & 7)) & 1 ? -scale : scale
    }
  },

  encodeFloat16(x, halves) {
    checkHalves('encodeFloat16', x, halves)
    for (let i = 0; i < x.length; i++) {
      if (!(Math.abs(x[i]!) < 65520)) throw cannotCode('encodeFloat16', Math.floor(i / CODEC_BLOCK))
      halves[i] = toHalf(x[i]!)
    }
  },

  allFiniteFloat16(halves) {
    for (let i = 0; i < halves.length; i++) if ((halves[i]! & 0x7c00) === 0x7c00) return false
    return true
  },

  decodeFloat16(halves, out) {
    checkHalves('decodeFloat16', out, halves)
    for (let i = 0; i < out.length; i++) out[i] = fromHalf(halves[i]!)
  },

  ...topKTwins,
}
