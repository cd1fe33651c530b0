import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SharedVectors, twins } from '../../kernels/index.ts'
import { codecs } from '../codecs/index.ts'
import type { ComputeContext } from '../ports.ts'
import { seededRandom } from '../random.ts'
import { type NolocoOptions, nolocoOptionsSchema } from './stability.ts'
import { adoptTask, encodeTask, inspectTask, nolocoVectors, startTask, stepTask, tensorOptions } from './tasks.ts'

/** Longer than a slice and not a multiple of the code's block. */
const SIZE = 65_536 + 1_008

function peer(options: NolocoOptions, seed: number, spread: number): ComputeContext {
  const vectors = SharedVectors.create({ theta: { type: 'float32', length: SIZE }, ...nolocoVectors(SIZE, options) })
  const theta = vectors.float32('theta')
  const common = seededRandom('common')
  const random = seededRandom('peer', seed)
  for (let i = 0; i < SIZE; i++) {
    theta[i] = common.uniform() - 0.5
  }
  const context = {
    kernels: twins,
    float32: (name: string) => vectors.float32(name),
    int32: (name: string) => vectors.int32(name),
    bytes: (name: string) => vectors.bytes(name),
  }
  startTask.run(context, null)
  for (let i = 0; i < SIZE; i++) {
    theta[i] = theta[i]! + spread * (random.uniform() - 0.5)
  }
  return context
}

function exchange(a: ComputeContext, b: ComputeContext): void {
  a.bytes('inbox').set(b.bytes('outbox'))
  b.bytes('inbox').set(a.bytes('outbox'))
}

const mean = (a: Float32Array, b: Float32Array): Float64Array => Float64Array.from(a, (value, i) => (value + b[i]!) / 2)

test('the mean of a pair is that of exact messages, although int8 travelled and whatever share of the way is taken', () => {
  for (const [gamma, share] of [
    [undefined, 1],
    [0.4, 1],
    [undefined, 0.3],
  ] as const) {
    const options = nolocoOptionsSchema.parse(gamma === undefined ? {} : { gamma })
    const tensor = tensorOptions(options)
    const [a, b] = [peer(options, 1, 0.1), peer(options, 2, 0.1)]
    const theta = mean(a.float32('theta'), b.float32('theta'))
    const phi = mean(a.float32('phi'), b.float32('phi'))
    const errors = [a, b].map((context) => encodeTask.run(context, tensor).codingError)
    for (const error of errors) {
      // Uniform values: half-scale steps of 1/254 of the range, uniform error, so 1/254/√3 over 1/√3 of the range's half.
      assert.ok(error > 0.001 && error < 0.006, String(error))
    }
    exchange(a, b)
    stepTask.run(a, { ...tensor, share })
    stepTask.run(b, { ...tensor, share })
    const after = mean(a.float32('phi'), b.float32('phi'))
    for (let i = 0; i < SIZE; i++) {
      const expected = phi[i]! + options.beta * (theta[i]! - phi[i]!)
      assert.ok(Math.abs(after[i]! - expected) < 3e-7, `element ${i}: ${after[i]} instead of ${expected}`)
    }
    assert.deepEqual(a.float32('theta'), a.float32('phi'))
  }
})

test('equal replicas stay equal to the bit, with the exact step', () => {
  const options = nolocoOptionsSchema.parse({})
  const tensor = tensorOptions(options)
  const [a, b, alone] = [peer(options, 1, 0.1), peer(options, 1, 0.1), peer(options, 1, 0.1)]
  for (const context of [a, b]) {
    encodeTask.run(context, tensor)
  }
  exchange(a, b)
  assert.ok(inspectTask.run(a, tensor).disagreement < 0.001)
  for (const context of [a, b]) {
    stepTask.run(context, { ...tensor, share: 1 })
  }
  stepTask.run(alone, { ...tensor, share: 0 })
  assert.deepEqual(a.float32('phi'), b.float32('phi'))
  assert.deepEqual(a.float32('phi'), alone.float32('phi'))
})

test('disagreement estimates the standard deviation of the replicas', () => {
  const options = nolocoOptionsSchema.parse({ codec: 'float32' })
  const [a, b] = [peer(options, 1, 0.12), peer(options, 2, 0.12)]
  encodeTask.run(a, tensorOptions(options))
  encodeTask.run(b, tensorOptions(options))
  exchange(a, b)
  // Uniform over a range of 0.12.
  const expected = 0.12 / Math.sqrt(12)
  assert.ok(Math.abs(inspectTask.run(a, tensorOptions(options)).disagreement / expected - 1) < 0.02)
})

test('a tensor that is not finite, or of another scale, is refused before anything is changed', () => {
  for (const codec of ['int8', 'float16', 'float32'] as const) {
    const options = nolocoOptionsSchema.parse({ codec })
    const tensor = tensorOptions(options)
    for (const [value, words] of [
      [Number.NaN, /NaN/],
      [Number.POSITIVE_INFINITY, /[Ii]nfinity/],
      [1e20, /times the size/],
    ] as const) {
      const context = peer(options, 1, 0.1)
      encodeTask.run(context, tensor)
      context.bytes('inbox').set(context.bytes('outbox'))
      const inbox = context.bytes('inbox')
      // The last scale, or the last value.
      new DataView(inbox.buffer, inbox.byteOffset).setFloat32(inbox.byteLength - 4, value, true)
      if (codec === 'int8') {
        inbox[SIZE - 1] = 100
      }
      const before = context.float32('theta').slice()
      assert.match(inspectTask.run(context, tensor).fault?.message ?? '', words)
      assert.deepEqual(context.float32('theta'), before)
    }
  }
})

test('both sides of a pair find one distance, to the bit, and the negative of a model is too far away', () => {
  const options = nolocoOptionsSchema.parse({})
  const tensor = tensorOptions(options)
  const [a, b] = [peer(options, 1, 0.1), peer(options, 2, 0.3)]
  const { progress } = encodeTask.run(a, tensor)
  assert.ok(Math.abs(progress / (0.1 / Math.sqrt(12)) - 1) < 0.02)
  encodeTask.run(b, tensor)
  exchange(a, b)
  const { distance, fault } = inspectTask.run(a, tensor)
  assert.equal(fault, undefined)
  assert.equal(inspectTask.run(b, tensor).distance, distance)
  assert.ok(Math.abs(distance / Math.sqrt((0.1 ** 2 + 0.3 ** 2) / 12) - 1) < 0.02)

  twins.scale(b.float32('theta'), -1)
  encodeTask.run(b, tensor)
  exchange(a, b)
  assert.equal(inspectTask.run(a, tensor).fault?.reason, 'too-far')
})

test('parameters that are not finite are an error of their own, and are never taken over', () => {
  const options = nolocoOptionsSchema.parse({})
  const context = peer(options, 1, 0.1)
  context.float32('snapshot')[5] = Number.NaN
  assert.throws(() => adoptTask.run(context, null), { code: 'bad-tensor' })
  assert.ok(twins.allFinite(context.float32('theta')))
  context.float32('theta')[70_000 % SIZE] = Number.NaN
  assert.throws(() => encodeTask.run(context, tensorOptions(options)), { code: 'diverged' })
})

test('the bytes of a message are those of the formula', () => {
  assert.equal(codecs.int8.bytes(SIZE), SIZE + 4 * Math.ceil(SIZE / 256))
  assert.equal(codecs.int8.bytes(257), 260 + 8)
  assert.equal(codecs.float32.bytes(257), 1028)
})
