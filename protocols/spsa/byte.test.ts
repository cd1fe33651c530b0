import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BAD_BYTE, decodeByte, encodeByte, LARGEST_MAGNITUDE } from './byte.ts'

const QUANTUM = 2 ** -10

/** Every byte that is a contribution, by rising value. */
const BYTES = [...Array.from({ length: 127 }, (_, i) => 0x80 | (127 - i)), ...Array.from({ length: 128 }, (_, q) => q)]

test('the 255 bytes decode to rising integers, symmetric about zero', () => {
  const values = BYTES.map((byte) => decodeByte(byte))
  for (const [i, value] of values.entries()) {
    assert.ok(Number.isInteger(value))
    assert.ok(i === 0 || value > values[i - 1]!)
    assert.equal(value + values[values.length - 1 - i]!, 0)
  }
  assert.equal(values.at(-1), LARGEST_MAGNITUDE)
  assert.deepEqual(
    values.slice(127, 127 + 26),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 24, 26, 28, 30, 32, 36],
  )
})

test('encoding what a byte decodes to gives the byte', () => {
  for (const quantum of [2 ** -24, QUANTUM, 1, 16]) {
    for (const byte of BYTES) {
      assert.equal(encodeByte(decodeByte(byte) * quantum, quantum), byte)
    }
  }
})

test('the nearest byte is taken, and larger gradients have no smaller bytes', () => {
  const values = BYTES.map((byte) => decodeByte(byte))
  const gradient = fc.oneof(
    fc.double({ min: -300, max: 300, noNaN: true }),
    fc.double({ min: -1, max: 1, noNaN: true }),
  )
  fc.assert(
    fc.property(gradient, gradient, (g, h) => {
      const decoded = decodeByte(encodeByte(g, QUANTUM))
      const nearest = Math.min(...values.map((value) => Math.abs(value - g / QUANTUM)))
      assert.equal(Math.abs(decoded - g / QUANTUM), nearest)
      const other = decodeByte(encodeByte(h, QUANTUM))
      assert.ok(g <= h ? decoded <= other : decoded >= other)
    }),
    { seed: 1, numRuns: 500 },
  )
})

test('the relative error is at most 1/17 from 8 quanta up; the ends saturate', () => {
  for (let g = 8; g < LARGEST_MAGNITUDE; g *= 1.0007) {
    const error = Math.abs(decodeByte(encodeByte(g, 1)) / g - 1)
    assert.ok(error <= 1 / 17 + 1e-12, `${g}: ${error}`)
  }
  assert.equal(decodeByte(encodeByte(1e300, QUANTUM)), LARGEST_MAGNITUDE)
  assert.equal(decodeByte(encodeByte(-1e300, QUANTUM)), -LARGEST_MAGNITUDE)
  assert.equal(encodeByte(-1e-300, QUANTUM), 0)
  assert.equal(encodeByte(-0, QUANTUM), 0)
})

test('a limit bounds both signs', () => {
  assert.equal(decodeByte(encodeByte(-100, QUANTUM), 16_384), -16_384)
  assert.equal(decodeByte(encodeByte(100, QUANTUM), 16_384), 16_384)
  assert.equal(decodeByte(encodeByte(-1, QUANTUM), 16_384), -1024)
})

test('minus zero, what is no byte, NaN and infinities are refused', () => {
  for (const byte of [BAD_BYTE, -1, 256, 1.5, Number.NaN, undefined as unknown as number]) {
    assert.throws(() => decodeByte(byte), { code: 'bad-byte' })
  }
  for (const gradient of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    assert.throws(() => encodeByte(gradient, QUANTUM), { code: 'not-finite' })
  }
})

test('over the gradients that occur it is as exact as a byte of 8 steps per factor e', () => {
  // Quantiles of |g| seen in training are 0.02, 1.3 and 8: take them evenly in the logarithm.
  const gradients = Array.from({ length: 2_000 }, (_, i) => 0.02 * 400 ** (i / 1_999))
  const relativeError = (code: (g: number) => number): number =>
    Math.sqrt(gradients.reduce((sum, g) => sum + (code(g) / g - 1) ** 2, 0) / gradients.length)
  const ours = relativeError((g) => decodeByte(encodeByte(g, QUANTUM)) * QUANTUM)
  const eight = relativeError((g) => Math.exp(Math.round(8 * Math.log(g)) / 8))
  const sixteen = relativeError((g) => Math.exp(Math.round(16 * Math.log(g)) / 16))
  assert.ok(ours < eight, `${ours} and ${eight}`)
  assert.ok(ours < 2 * sixteen, `${ours} and ${sixteen}`)
})
