import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { CODEC_BLOCK, loadKernels, TOPK_CHUNK, twins } from '../../kernels/index.ts'
import { seededRandom } from '../random.ts'
import { CODEC_NAMES, type CodecName, codecs, type TensorCodec, topKCodec } from './index.ts'
import { fuzzDecoder } from './testing/fuzz.ts'

/** Encodes and decodes slice by slice, over memory filled with `before`. */
function through(
  codec: TensorCodec,
  values: Float32Array,
  { slice = values.length, seed = 1, before = 0xa5 } = {},
): { message: Uint8Array; decoded: Float32Array } {
  const size = values.length
  const message = new Uint8Array(codec.bytes(size)).fill(before)
  const decoded = new Float32Array(size)
  for (let start = 0; start < size; start += slice) {
    codec.encode(twins, values.subarray(start, start + slice), message, size, start, seed)
  }
  for (let start = 0; start < size; start += slice) {
    codec.decode(twins, message, size, start, decoded.subarray(start, start + slice))
  }
  return { message, decoded }
}

function normal(length: number, ...seed: number[]): Float32Array {
  const random = seededRandom('normal', ...seed)
  return Float32Array.from(
    { length },
    () => Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform()),
  )
}

const tensors = fc.float32Array({ minLength: 1, maxLength: 3 * CODEC_BLOCK, noNaN: true, min: -65000, max: 65000 })

/** The exact length of a message, written down once more. */
const FORMULAS: Record<CodecName, (n: number) => number> = {
  float32: (n) => 4 * n,
  float16: (n) => 2 * n,
  int8: (n) => 4 * Math.ceil(n / 4) + 4 * Math.ceil(n / 256),
  'int8-stochastic': (n) => 4 * Math.ceil(n / 4) + 4 * Math.ceil(n / 256),
  int4: (n) => 4 * Math.ceil(n / 8) + 4 * Math.ceil(n / 256),
  sign: (n) => 4 * Math.ceil(n / 32) + 4 * Math.ceil(n / 256),
  topk(n) {
    const k = Math.ceil((n % 4096) / 64)
    return 128 * Math.floor(n / 4096) + (k === 0 ? 0 : 16 + Math.ceil(1.5 * k) + Math.ceil(k / 4))
  },
}

describe('every code', () => {
  for (const name of CODEC_NAMES) {
    const codec = codecs[name]

    test(`${name}: the length of a message is that of the formula, and every byte of it is written`, () => {
      for (const size of [1, 2, 7, 8, 9, 255, 256, 257, 1_000, 4_096, 4_097, 10_000]) {
        const values = normal(size, size)
        const { message } = through(codec, values)
        assert.equal(message.byteLength, FORMULAS[name](size))
        assert.deepEqual(through(codec, values, { before: 0x5a }).message, message)
      }
    })

    test(`${name}: a message does not depend on how it is cut into slices`, () => {
      const values = normal(3 * TOPK_CHUNK + 300)
      const whole = through(codec, values)
      const sliced = through(codec, values, { slice: TOPK_CHUNK })
      assert.deepEqual(sliced.message, whole.message)
      assert.deepEqual(sliced.decoded, whole.decoded)
    })

    test(`${name}: coding takes energy away from the error, and zeros stay zeros`, () => {
      fc.assert(
        fc.property(tensors, (values) => {
          const { decoded } = through(codec, values)
          const energy = twins.sumSquares(values)
          // int4 rounds up or down by less than a seventh of the largest magnitude of its block.
          const largest = values.reduce((most, value) => Math.max(most, value * value), 0)
          const bound = name === 'int4' ? energy + (values.length * largest) / 49 : energy
          assert.ok(twins.squaredDistance(values, decoded) <= bound * 1.0001)
        }),
        { seed: 3, numRuns: 60 },
      )
      const zeros = new Float32Array(5_000)
      assert.deepEqual(through(codec, zeros).decoded, zeros)
    })

    test(`${name}: NaN and infinity are refused at encoding`, () => {
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        const values = normal(5_000)
        values[4_321] = bad
        assert.throws(() => through(codec, values), { name: 'KernelError', code: 'not-finite' })
      }
    })

    test(`${name}: a message of a wrong length is refused before anything is written, a bad slice is an error of the caller`, () => {
      const out = new Float32Array(TOPK_CHUNK).fill(7)
      for (const length of [0, codec.bytes(TOPK_CHUNK) - 4, codec.bytes(TOPK_CHUNK) + 4]) {
        assert.throws(() => codec.decode(twins, new Uint8Array(length), TOPK_CHUNK, 0, out), { code: 'bad-tensor' })
      }
      const message = new Uint8Array(codec.bytes(2 * TOPK_CHUNK))
      const decode = (start: number, length: number): void =>
        codec.decode(twins, message, 2 * TOPK_CHUNK, start, out.subarray(0, length))
      assert.throws(() => decode(2 * TOPK_CHUNK, 1), RangeError)
      assert.throws(() => decode(-codec.block, codec.block), RangeError)
      if (codec.block > 1) {
        assert.throws(() => decode(100, TOPK_CHUNK), RangeError)
        assert.throws(() => decode(0, 100), RangeError)
      }
      const odd = new Uint8Array(codec.bytes(4) + 1).subarray(1)
      assert.throws(() => codec.decode(twins, odd, 4, 0, out.subarray(0, 4)), RangeError)
      assert.ok(out.every((value) => value === 7))
    })

    test(`${name}: hostile messages are refused with the code's own error, or decode to finite values`, () => {
      for (const [load, inputs] of [[loadKernels, 3_000] as const, [() => twins, 500] as const]) {
        const { refused, decoded } = fuzzDecoder(codec, load, { inputs, seed: 1 })
        assert.ok(refused > inputs / 20 && decoded > inputs / 20, `${refused} refused, ${decoded} decoded`)
      }
    })
  }

  test('the errors of a normal tensor are those that theory gives', () => {
    const values = normal(65_536)
    // The largest of 256 normal values has a mean square of 9.4. Nearest rounding errs by step²/12, stochastic by step²/6.
    const expected: Record<CodecName, number> = {
      float32: 0,
      // Steps of 2^-10 of the power of two below: the mean of its square is 0.53.
      float16: 0.53 / 2 ** 20 / 12,
      int8: 9.4 / 127 ** 2 / 12,
      'int8-stochastic': 9.4 / 127 ** 2 / 6,
      int4: 9.4 / 7 ** 2 / 6,
      sign: 1 - 2 / Math.PI,
      // One in 64 lies beyond 2.42 standard deviations; they hold 0.119 of the energy, and the code keeps 0.118 of it.
      topk: 1 - 0.118,
    }
    for (const name of CODEC_NAMES) {
      const error = twins.squaredDistance(values, through(codecs[name], values).decoded) / values.length
      assert.ok(Math.abs(error - expected[name]) <= 0.1 * expected[name], `${name}: mean squared error ${error}`)
    }
  })
})

test('float32: to the bit', () => {
  fc.assert(
    fc.property(tensors, (values) => {
      assert.deepEqual(through(codecs.float32, values).decoded, values)
    }),
    { seed: 2, numRuns: 50 },
  )
})

test('float16: to 11 bits, and refused from 65520 on', () => {
  const { decoded } = through(
    codecs.float16,
    Float32Array.of(1 + 2 ** -11, 1 + 2 ** -10, 65_519, -(2 ** -24), 2 ** -26),
  )
  assert.deepEqual([...decoded], [1, 1 + 2 ** -10, 65_504, -(2 ** -24), 0])
  assert.throws(() => through(codecs.float16, Float32Array.of(65_520)), { code: 'not-finite' })
  for (const half of [0x7c00, 0xfc00, 0x7e00]) {
    const message = new Uint8Array(Uint16Array.of(0, half).buffer)
    const out = new Float32Array(2).fill(7)
    assert.throws(() => codecs.float16.decode(twins, message, 2, 0, out), { code: 'bad-tensor' })
    assert.deepEqual([...out], [7, 7])
  }
})

test('int8: the message is laid out as documented', () => {
  const values = new Float32Array(257).fill(0)
  values[0] = 127
  values[1] = -64
  values[256] = 254
  const { message } = through(codecs.int8, values, { slice: 256 })
  assert.equal(message.byteLength, 260 + 2 * 4)
  const view = new DataView(message.buffer)
  assert.deepEqual([view.getInt8(0), view.getInt8(1), view.getInt8(256), view.getInt8(257)], [127, -64, 127, 0])
  assert.deepEqual([view.getFloat32(260, true), view.getFloat32(264, true)], [1, 2])
})

test('scales that no encoder writes are refused before anything is written', () => {
  for (const name of ['int8', 'int8-stochastic', 'int4', 'sign'] as const) {
    const codec = codecs[name]
    const size = 600
    for (const scale of [Number.NaN, Number.POSITIVE_INFINITY, -1, ...(name === 'sign' ? [] : [3e37])]) {
      const { message } = through(codec, normal(size))
      new DataView(message.buffer).setFloat32(message.byteLength - 4, scale, true)
      const out = new Float32Array(size)
      assert.throws(() => codec.decode(twins, message, size, 0, out), { code: 'bad-tensor' }, `${name} ${scale}`)
      assert.ok(out.every((value) => value === 0))
    }
    // The largest magnitude that is taken comes through, and what is above is refused at encoding.
    const most = new Float32Array(size).fill(name === 'sign' ? 3.4e38 : 2 ** 127)
    assert.ok(twins.allFinite(through(codec, most).decoded))
    const above = name === 'sign' ? Number.POSITIVE_INFINITY : 3e38
    assert.throws(() => through(codec, most.fill(above)), { code: 'not-finite' })
  }
})

test('bits between codes and scales are refused', () => {
  for (const [name, size] of [['int8', 257] as const, ['int4', 257] as const, ['sign', 257] as const]) {
    const { message } = through(codecs[name], normal(size))
    const used = Math.ceil((size * { int8: 8, int4: 4, sign: 1 }[name]) / 8)
    for (const at of name === 'int8' ? [used] : [used - 1, used]) {
      const damaged = message.slice()
      damaged[at] = damaged[at]! | 0x80
      assert.throws(() => codecs[name].decode(twins, damaged, size, 0, new Float32Array(size)), { code: 'bad-tensor' })
    }
  }
})

test('topk: the largest of every chunk are kept, near to their values, and nothing else', () => {
  const values = normal(TOPK_CHUNK + 640)
  const { decoded } = through(codecs.topk, values)
  for (const [start, length, k] of [[0, TOPK_CHUNK, 64] as const, [TOPK_CHUNK, 640, 10] as const]) {
    const order = [...values.subarray(start, start + length).keys()].sort(
      (a, b) => Math.abs(values[start + b]!) - Math.abs(values[start + a]!),
    )
    const largest = new Set(order.slice(0, k))
    for (let i = 0; i < length; i++) {
      const value = decoded[start + i]!
      assert.equal(value !== 0, largest.has(i))
      assert.ok(value === 0 || Math.sign(value) === Math.sign(values[start + i]!))
    }
  }
})

test('topk: positions that repeat, fall or lie outside, tables that are not finite and padding are refused', () => {
  const codec = topKCodec(65)
  const size = TOPK_CHUNK + 100
  const { message } = through(codec, normal(size))
  const chunk = 16 + 98 + 17
  assert.equal(message.byteLength, chunk + 16 + 3 + 1)
  const position = (bytes: Uint8Array, index: number, value: number): void => {
    const at = 16 + 3 * (index >> 1)
    const pair = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16)
    const bits = index % 2 === 0 ? (pair & 0xfff000) | value : (pair & 0xfff) | (value << 12)
    bytes.set([bits & 255, (bits >> 8) & 255, bits >> 16], at)
  }
  const first = message[16]! | ((message[17]! & 15) << 8)
  const damages: [string, (bytes: Uint8Array) => void][] = [
    ['repeated', (bytes) => position(bytes, 1, first)],
    ['falling', (bytes) => position(bytes, 0, 4095)],
    ['outside the last, short chunk', (bytes) => bytes.set([100, bytes[chunk + 17]! & 0xf0], chunk + 16)],
    ['infinite table', (bytes) => new DataView(bytes.buffer).setFloat32(8, Number.NEGATIVE_INFINITY, true)],
    ['padding after the positions', (bytes) => bytes.set([bytes[16 + 97]! | 0x80], 16 + 97)],
    ['padding after the codes', (bytes) => bytes.set([bytes[chunk - 1]! | 0x80], chunk - 1)],
  ]
  for (const [what, damage] of damages) {
    const damaged = message.slice()
    damage(damaged)
    const out = new Float32Array(size)
    assert.throws(() => codec.decode(twins, damaged, size, 0, out), { code: 'bad-tensor' }, what)
    assert.ok(out.every((element) => element === 0))
  }
  assert.throws(() => topKCodec(0), RangeError)
  assert.throws(() => topKCodec(TOPK_CHUNK + 1), RangeError)
})

test('stochastic codes: the same seed gives the same message, another one another, and the mean over seeds is the value', () => {
  const values = normal(CODEC_BLOCK)
  for (const name of ['int8-stochastic', 'int4'] as const) {
    const codec = codecs[name]
    const message = through(codec, values, { seed: 5 }).message
    assert.deepEqual(through(codec, values, { seed: 5 }).message, message)
    assert.notDeepEqual(through(codec, values, { seed: 6 }).message, message)
    const mean = new Float32Array(values.length)
    const DRAWS = 400
    for (let seed = 0; seed < DRAWS; seed++) {
      twins.axpy(mean, 1 / DRAWS, through(codec, values, { seed }).decoded)
    }
    const one = twins.squaredDistance(values, through(codec, values).decoded)
    const ratio = twins.squaredDistance(values, mean) / one
    assert.ok(ratio > 0.7 / DRAWS && ratio < 1.4 / DRAWS, `${name}: ${ratio * DRAWS}`)
  }
})
