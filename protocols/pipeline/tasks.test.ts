import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { SharedVectors, twins } from '../../kernels/index.ts'
import type { ComputeContext } from '../ports.ts'
import { normal, seededRandom } from '../random.ts'
import { decodeStreamTask, encodeStreamTask, TENSORS } from './tasks.ts'

const COUNT = 1_000

function context(): ComputeContext & { stream: Float32Array } {
  const vectors = SharedVectors.create({
    stream: { type: 'float32', length: COUNT + 8 },
    [TENSORS]: { type: 'uint8', length: 3 * 4_096 },
  })
  return {
    kernels: twins,
    float32: (name) => vectors.float32(name),
    int32: (name) => vectors.int32(name),
    bytes: (name) => vectors.bytes(name),
    stream: vectors.float32('stream'),
  }
}

const SIZES = { float32: 4 * COUNT, float16: 2 * COUNT, int8: COUNT + 4 * 4 } as const

describe('the code of a stream', () => {
  for (const codec of ['float32', 'float16', 'int8'] as const) {
    for (const scale of [1e-20, 1e-9, 1, 1e6, 1e20]) {
      test(`${codec} keeps values of size ${scale}`, () => {
        const it = context()
        const random = seededRandom('stream', codec, scale)
        const values = Float32Array.from({ length: COUNT }, () => scale * normal(random))
        it.stream.set(values)
        const tensor = { codec, count: COUNT, offset: 4_096, size: SIZES[codec] }
        const { exponent } = encodeStreamTask.run(it, tensor)
        it.stream.fill(0)
        decodeStreamTask.run(it, { ...tensor, exponent })
        const energy = twins.sumSquares(values)
        const off = Math.sqrt(twins.squaredDistance(values, it.stream.subarray(0, COUNT)) / energy)
        const allowed = { float32: 0, float16: 5e-4, int8: 0.012 }[codec]
        assert.ok(off <= allowed, `off by ${off}`)
        assert.ok(it.stream.subarray(COUNT).every((value) => value === 0))
      })
    }
  }

  test('zeros, and one large value among zeros, are kept by float16', () => {
    const it = context()
    const tensor = { codec: 'float16' as const, count: COUNT, offset: 0, size: SIZES.float16 }
    it.stream.fill(0)
    assert.equal(encodeStreamTask.run(it, tensor).exponent, 0)
    it.stream[5] = 2 ** 100
    const { exponent } = encodeStreamTask.run(it, tensor)
    decodeStreamTask.run(it, { ...tensor, exponent })
    assert.equal(it.stream[5], 2 ** 100)
  })

  test('what is not finite is refused on both sides', () => {
    const it = context()
    for (const codec of ['float32', 'float16', 'int8'] as const) {
      const tensor = { codec, count: COUNT, offset: 0, size: SIZES[codec] }
      it.stream.fill(1)
      it.stream[7] = Number.NaN
      assert.throws(() => encodeStreamTask.run(it, tensor), { code: 'not-finite' })
    }
    const halves = { codec: 'float16' as const, count: COUNT, offset: 0, size: SIZES.float16 }
    it.bytes(TENSORS).fill(0xff)
    assert.throws(() => decodeStreamTask.run(it, { ...halves, exponent: 0 }), { code: 'bad-tensor' })
    // 2^15 at an exponent of -100 is finite, at one beyond the bounds of the message it would not be.
    it.bytes(TENSORS).fill(0x78)
    decodeStreamTask.run(it, { ...halves, exponent: -100 })
    assert.throws(() => decodeStreamTask.run(it, { ...halves, exponent: -120 }), { code: 'bad-tensor' })
    assert.throws(() => decodeStreamTask.run(it, { ...halves, size: 7, exponent: 0 }), { code: 'bad-tensor' })
  })
})
