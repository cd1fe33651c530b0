import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { CODEC_BLOCK, twins } from '../../kernels/index.ts'
import { type CodecName, codecs } from './index.ts'

/** Encodes and decodes slice by slice. */
function through(name: CodecName, values: Float32Array, slice: number): { message: Uint8Array; decoded: Float32Array } {
  const codec = codecs[name]
  const size = values.length
  const message = new Uint8Array(codec.bytes(size))
  const decoded = new Float32Array(size)
  for (let start = 0; start < size; start += slice) {
    codec.encode(twins, values.subarray(start, start + slice), message, size, start)
  }
  for (let start = 0; start < size; start += slice) {
    codec.decode(twins, message, size, start, decoded.subarray(start, start + slice))
  }
  return { message, decoded }
}

const tensors = fc.float32Array({
  minLength: 1,
  maxLength: 3 * CODEC_BLOCK,
  noNaN: true,
  min: -(2 ** 100),
  max: 2 ** 100,
})

test('int8: no value is off by more than half its scale, and slices do not matter', () => {
  fc.assert(
    fc.property(tensors, (values) => {
      const { message, decoded } = through('int8', values, CODEC_BLOCK)
      assert.deepEqual(through('int8', values, 2 * CODEC_BLOCK).message, message)
      for (let block = 0; block * CODEC_BLOCK < values.length; block++) {
        const part = values.subarray(block * CODEC_BLOCK, (block + 1) * CODEC_BLOCK)
        const largest = part.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
        part.forEach((value, i) => {
          const error = Math.abs(value - decoded[block * CODEC_BLOCK + i]!)
          assert.ok(error <= (largest / 127) * 0.50001 + 1e-30, `${value} became ${decoded[block * CODEC_BLOCK + i]}`)
        })
      }
    }),
    { seed: 1, numRuns: 200 },
  )
})

test('float32: to the bit', () => {
  fc.assert(
    fc.property(tensors, (values) => {
      const { message, decoded } = through('float32', values, CODEC_BLOCK)
      assert.deepEqual(decoded, values)
      assert.equal(message.byteLength, 4 * values.length)
    }),
    { seed: 2, numRuns: 100 },
  )
})

test('int8: the message is laid out as documented', () => {
  const values = new Float32Array(257).fill(0)
  values[0] = 127
  values[1] = -64
  values[256] = 254
  const { message } = through('int8', values, 512)
  assert.equal(message.byteLength, 260 + 2 * 4)
  const view = new DataView(message.buffer)
  assert.deepEqual([view.getInt8(0), view.getInt8(1), view.getInt8(256)], [127, -64, 127])
  assert.deepEqual([view.getFloat32(260, true), view.getFloat32(264, true)], [1, 2])
})

test('a message of the wrong length and a slice that splits a block are refused', () => {
  for (const name of ['int8', 'float32'] as const) {
    const codec = codecs[name]
    const message = new Uint8Array(codec.bytes(256) + 4)
    assert.throws(() => codec.decode(twins, message, 256, 0, new Float32Array(256)), { code: 'bad-tensor' })
  }
  const message = new Uint8Array(codecs.int8.bytes(512))
  assert.throws(() => codecs.int8.decode(twins, message, 512, 100, new Float32Array(256)), RangeError)
})

test('the error of a normal tensor is below one in a hundred', () => {
  let seed = 1
  const uniform = (): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
    return (seed + 0.5) / 2 ** 32
  }
  const values = Float32Array.from(
    { length: 65_536 },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  )
  const { decoded } = through('int8', values, 65_536)
  const error = twins.squaredDistance(values, decoded) / values.length
  assert.ok(error > 1e-5 && error < 1e-4, `mean squared error ${error}`)
})
