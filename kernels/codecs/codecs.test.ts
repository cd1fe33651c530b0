import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import {
  CODEC_BLOCK,
  KernelError,
  type Kernels,
  loadKernels,
  SharedVectors,
  TOPK_CHUNK,
  topKBytes,
  twins,
} from '../index.ts'

const LONGEST = 2 * TOPK_CHUNK + 700

/** One memory for all examples: the scratch that both implementations write is filled with the same bytes before. */
const vectors = SharedVectors.create({
  x: { type: 'float32', length: LONGEST },
  out: { type: 'float32', length: LONGEST },
  scales: { type: 'float32', length: LONGEST },
  message: { type: 'uint8', length: 4 * LONGEST },
})
const simd = loadKernels(vectors)

interface Scratch {
  x: Float32Array
  out: Float32Array
  scales: Float32Array
  int8: Int8Array
  /** `count` bytes, or halves, of the message. */
  bytes(count: number): Uint8Array
  halves: Uint16Array
}

/** What `body` leaves in memory, or its error's code and place. */
function outcome(
  kernels: Kernels,
  values: Float32Array,
  body: (kernels: Kernels, scratch: Scratch) => unknown,
): unknown {
  const message = vectors.bytes('message')
  const { buffer, byteOffset } = message
  const { length } = values
  for (const name of vectors.names) vectors.bytes(name).fill(0xa5)
  const scratch: Scratch = {
    x: vectors.float32('x').subarray(0, length),
    out: vectors.float32('out').subarray(0, length),
    scales: vectors.float32('scales').subarray(0, Math.ceil(length / CODEC_BLOCK)),
    int8: new Int8Array(buffer, byteOffset, length),
    bytes: (count) => message.subarray(0, count),
    halves: new Uint16Array(buffer, byteOffset, length),
  }
  scratch.x.set(values)
  try {
    const result = body(kernels, scratch)
    return { result, memory: vectors.names.map((name) => Buffer.from(vectors.bytes(name)).toString('base64')) }
  } catch (error) {
    assert.ok(error instanceof KernelError, String(error))
    return { code: error.code, data: error.data }
  }
}

/** Ordinary numbers with ties and extremes of the codes; with `special`, in one list of three a few that some or all codes refuse. */
const values = (maxLength: number, special = true): fc.Arbitrary<Float32Array> => {
  const usual = fc.oneof(
    { weight: 5, arbitrary: fc.float({ noNaN: true, min: -8, max: 8 }) },
    { weight: 1, arbitrary: fc.constantFrom(0, -0, 1, -1, 0.5, 7, -127, 2 ** -24, 2 ** -130, 65519, -65504) },
  )
  const any = fc.oneof(fc.float(), fc.constantFrom(Number.NaN, Infinity, -Infinity, 3e38, 65520))
  const list = fc.array(usual, { maxLength, size: 'max' })
  const rare = fc.array(fc.oneof({ weight: 200, arbitrary: usual }, { weight: 1, arbitrary: any }), {
    maxLength,
    size: 'max',
  })
  return (special ? fc.oneof({ weight: 2, arbitrary: list }, { weight: 1, arbitrary: rare }) : list).map((x) =>
    Float32Array.from(x),
  )
}

const seed = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const first = fc.integer({ min: 0, max: 1000 }).map((block) => block * CODEC_BLOCK)

function sameBits(input: Float32Array, body: (kernels: Kernels, scratch: Scratch) => unknown): void {
  assert.deepEqual(outcome(simd, input, body), outcome(twins, input, body))
}

describe('the SIMD codes compute the bits of their plain twins', () => {
  it('int8, nearest and stochastic', () => {
    fc.assert(
      fc.property(values(1100), seed, first, (input, s, f) => {
        sameBits(input, (kernels, { x, int8, scales, out }) => {
          kernels.encodeInt8(x, int8, scales)
          kernels.decodeInt8(int8, scales, out)
        })
        sameBits(input, (kernels, { x, int8, scales, out }) => {
          kernels.encodeInt8Stochastic(x, int8, scales, { seed: s, first: f })
          kernels.decodeInt8(int8, scales, out)
        })
      }),
      { seed: 1, numRuns: 60 },
    )
  })

  it('int4 and sign', () => {
    fc.assert(
      fc.property(values(1100), seed, first, (input, s, f) => {
        sameBits(input, (kernels, { x, bytes, scales, out }) => {
          const codes = bytes(Math.ceil(x.length / 2))
          kernels.encodeInt4(x, codes, scales, { seed: s, first: f })
          kernels.decodeInt4(codes, scales, out)
        })
        sameBits(input, (kernels, { x, bytes, scales, out }) => {
          const signs = bytes(Math.ceil(x.length / 8))
          kernels.encodeSign(x, signs, scales)
          kernels.decodeSign(signs, scales, out)
        })
      }),
      { seed: 2, numRuns: 60 },
    )
  })

  it('decoding int4 and signs of any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300, size: 'max' }), (message) => {
        for (const [bits, decode] of [[4, 'decodeInt4'] as const, [1, 'decodeSign'] as const]) {
          const input = new Float32Array((message.length * 8) / bits)
          sameBits(input, (kernels, { bytes, scales, out }) => {
            bytes(message.length).set(message)
            kernels[decode](bytes(message.length), scales.fill(1.5), out)
          })
        }
      }),
      { seed: 3, numRuns: 60 },
    )
  })

  it('float16: all 65,536 halves, and the nearest half of any number', () => {
    const all = Uint16Array.from({ length: 65_536 }, (_, half) => half).filter((half) => (half & 0x7c00) !== 0x7c00)
    for (let start = 0; start < all.length; start += LONGEST) {
      const halves = all.subarray(start, start + LONGEST)
      sameBits(new Float32Array(halves.length), (kernels, scratch) => {
        scratch.halves.set(halves)
        kernels.decodeFloat16(scratch.halves, scratch.out)
        kernels.encodeFloat16(scratch.out, scratch.halves)
        assert.deepEqual(scratch.halves, halves)
      })
    }
    const bits = fc
      .uint32Array({ maxLength: 700, size: 'max' })
      // Exponents near and inside the range of halves, whatever the mantissa.
      .map(
        (words) =>
          new Float32Array(words.map((word) => (word & 0x807fffff) | ((96 + ((word >>> 23) & 63)) << 23)).buffer),
      )
    fc.assert(
      fc.property(fc.oneof(bits, values(700)), (input) =>
        sameBits(input, (kernels, { x, halves, out }) => {
          kernels.encodeFloat16(x, halves)
          kernels.decodeFloat16(halves, out)
          return kernels.allFiniteFloat16(halves)
        }),
      ),
      { seed: 4, numRuns: 100 },
    )
    for (const kernels of [simd, twins]) {
      const halves = new Uint16Array(vectors.memory.buffer, vectors.bytes('message').byteOffset, 9)
      for (const bad of [0x7c00, 0xfc00, 0x7e01]) {
        for (let at = 0; at < 9; at++) {
          halves.fill(0x3c00)[at] = bad
          assert.equal(kernels.allFiniteFloat16(halves), false)
        }
      }
    }
  })

  it('top-k, its check and its refusal of what is not finite', () => {
    const lengths = fc.oneof(fc.integer({ min: 0, max: 70 }), fc.integer({ min: TOPK_CHUNK - 9, max: LONGEST }))
    const kept = fc.oneof(fc.constantFrom(1, 64, 65, 66, 67, TOPK_CHUNK), fc.integer({ min: 1, max: TOPK_CHUNK }))
    // One number repeated, few numbers, a power law and a bell: what the search for the threshold finds hard and easy.
    const shape = fc.constantFrom<(u: number) => number>(
      () => 1,
      (u) => Math.round(4 * u),
      (u) => u ** -3,
      (u) => Math.log(u + 1e-9),
      (u) => (u < 0.999 ? 0 : u),
    )
    fc.assert(
      fc.property(lengths, kept, shape, seed, fc.integer({ min: 0, max: 40 }), (length, k, of, s, bad) => {
        let state = s
        const input = Float32Array.from({ length }, () => {
          state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
          return of((state + 0.5) / 2 ** 32) * (state & 256 ? 1 : -1)
        })
        if (bad === 0 && length > 0) input[s % length] = Number.NaN
        sameBits(input, (kernels, { x, bytes, out }) => {
          const message = bytes(topKBytes(length, k))
          kernels.encodeTopK(x, message, k)
          kernels.decodeTopK(message, out, k)
          return kernels.checkTopK(message, length, k)
        })
      }),
      { seed: 5, numRuns: 60 },
    )
  })

  it('the check of damaged top-k messages', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: TOPK_CHUNK + 90 }),
        fc.integer({ min: 1, max: 200 }),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }),
        (length, k, damage) => {
          const input = Float32Array.from({ length }, (_, i) => Math.sin(i * i))
          sameBits(input, (kernels, { x, bytes }) => {
            const message = bytes(topKBytes(length, k))
            kernels.encodeTopK(x, message, k)
            for (const [at, value] of damage) message[at % message.length] = value
            return kernels.checkTopK(message, length, k)
          })
        },
      ),
      { seed: 6, numRuns: 150 },
    )
  })
})

describe('the codes', () => {
  it('int8 errs by at most half a step of its block, the stochastic codes by less than one', () => {
    fc.assert(
      fc.property(values(700, false), seed, (x, s) => {
        const scales = new Float32Array(Math.ceil(x.length / CODEC_BLOCK))
        const out = new Float32Array(x.length)
        const within = (steps: number): void => {
          for (let i = 0; i < x.length; i++) {
            const step = scales[Math.floor(i / CODEC_BLOCK)]!
            assert.ok(Math.abs(x[i]! - out[i]!) <= step * steps + 1e-30, `${x[i]} became ${out[i]}, step ${step}`)
          }
        }
        const codes = new Int8Array(x.length)
        twins.encodeInt8(x, codes, scales)
        twins.decodeInt8(codes, scales, out)
        within(0.5001)
        twins.encodeInt8Stochastic(x, codes, scales, { seed: s, first: 0 })
        twins.decodeInt8(codes, scales, out)
        within(1.0001)
        const halves = new Uint8Array(Math.ceil(x.length / 2))
        twins.encodeInt4(x, halves, scales, { seed: s, first: 0 })
        twins.decodeInt4(halves, scales, out)
        within(1.0001)
      }),
      { seed: 7, numRuns: 60 },
    )
  })

  it('stochastic rounding is unbiased over seeds, and a message does not depend on its slices', () => {
    const x = Float32Array.from({ length: 2 * CODEC_BLOCK }, (_, i) => Math.sin(i))
    const codes = new Int8Array(x.length)
    const scales = new Float32Array(2)
    const out = new Float32Array(x.length)
    const SEEDS = 2000
    const sums = new Float64Array(x.length)
    for (let s = 0; s < SEEDS; s++) {
      twins.encodeInt8Stochastic(x, codes, scales, { seed: s, first: 0 })
      twins.decodeInt8(codes, scales, out)
      for (let i = 0; i < x.length; i++) sums[i] = sums[i]! + (out[i]! - x[i]!) / scales[0]!
    }
    // The error of one draw has a standard deviation of at most half a step: 4.5 of those of the mean, for 512 values.
    for (const sum of sums) assert.ok(Math.abs(sum / SEEDS) < (4.5 * 0.5) / Math.sqrt(SEEDS), String(sum / SEEDS))
    const [low, high] = [codes.slice(0, CODEC_BLOCK), codes.slice(CODEC_BLOCK)]
    const again = new Int8Array(CODEC_BLOCK)
    const dither = { seed: SEEDS - 1, first: CODEC_BLOCK }
    twins.encodeInt8Stochastic(x.subarray(CODEC_BLOCK), again, scales.subarray(1), dither)
    assert.deepEqual(again, high)
    assert.notDeepEqual(again, low)
  })

  it('golden: the dither and the layouts are as they were', () => {
    const x = Float32Array.of(1, -0.25, 0.5, 7, -7, 0.1, 0.4, 0.6, 0, -3, 2.5)
    const codes = new Uint8Array(6)
    const scales = new Float32Array(1)
    twins.encodeInt4(x, codes, scales, { seed: 20_260_101, first: 512 })
    assert.deepEqual(
      { codes: Buffer.from(codes).toString('hex'), scales: [...scales] },
      { codes: '010001d72900', scales: [1] },
    )
    const signs = new Uint8Array(2)
    twins.encodeSign(x, signs, scales)
    assert.deepEqual([...signs], [0b00010010, 0b00000010])
    assert.ok(Math.abs(scales[0]! - 22.35 / 11) < 1e-6)
    const message = new Uint8Array(topKBytes(x.length, TOPK_CHUNK / 4))
    twins.encodeTopK(x, message, TOPK_CHUNK / 4)
    const view = new DataView(message.buffer)
    // The mean of 7, -7 and -3 is -1 and 1.5 standard deviations are 8.8: nothing lies in the outer bins.
    assert.deepEqual(
      [0, 4, 8, 12].map((at) => view.getFloat32(at, true)),
      [0, -5, 7, 0],
    )
    assert.equal(Buffer.from(message.subarray(16)).toString('hex'), '034000090016')
  })
})
