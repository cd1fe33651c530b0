import assert from 'node:assert/strict'
import { test } from 'node:test'
import { twins } from '../../kernels/index.ts'
import { seededRandom } from '../random.ts'
import {
  clipped,
  combine,
  fragmentOf,
  type Message,
  mean,
  measure,
  mix,
  mixingScratchLength,
  NO_GUARDS,
  nearest,
  partsIn,
} from './index.ts'

function draw(length: number, seed: number | string, scale = 1): Float32Array {
  const random = seededRandom('mix-test', seed)
  return Float32Array.from({ length }, () => scale * (random.uniform() - 0.5))
}

function scratchFor(length: number): { pull: Float32Array; difference: Float32Array } {
  const slice = mixingScratchLength(length)
  return { pull: new Float32Array(slice), difference: new Float32Array(slice) }
}

const messagesOf = (...values: Float32Array[]): Message[] =>
  values.map((value, i) => ({ peer: `p${i}`, values: value }))

test('the mean is the weighted mean, over several slices', () => {
  const size = 2 * 65_536 + 1_000
  const own = draw(size, 0)
  const before = own.slice()
  const messages = messagesOf(draw(size, 1), draw(size, 2))
  messages[1]!.weight = 3
  const mixed = mix(twins, own, messages, { rule: mean, ownWeight: 4 }, scratchFor(size))
  for (const i of [0, 65_535, 65_536, 131_072, size - 1]) {
    const expected = (4 * before[i]! + messages[0]!.values[i]! + 3 * messages[1]!.values[i]!) / 8
    assert.ok(Math.abs(own[i]! - expected) < 1e-7, `element ${i}`)
  }
  assert.ok(Math.abs(mixed.moved / Math.sqrt(twins.squaredDistance(own, before)) - 1) < 1e-5)
  assert.deepEqual(mixed.refused, [])
})

test('models that are equal stay equal to the bit', () => {
  const model = draw(1_000, 1)
  for (const rule of [mean, nearest(1), clipped(0.1), clipped({ faulty: 1 })]) {
    const own = model.slice()
    mix(twins, own, messagesOf(model, model, model), { rule }, scratchFor(1_000))
    assert.deepEqual(own, model)
  }
})

test('fragment by fragment, the mean gives the bits of the whole; fragments cover the model once', () => {
  const size = 5_000
  const [own, other] = [draw(size, 1), draw(size, 2)]
  const whole = own.slice()
  mix(twins, whole, messagesOf(other), { rule: mean }, scratchFor(size))
  for (const count of [1, 3, 4, 30]) {
    const parts = own.slice()
    let covered = 0
    for (let index = 0; index < count; index++) {
      const { start, end } = fragmentOf(size, count, index)
      assert.equal(start, covered)
      covered = end
      const messages = messagesOf(other.subarray(start, end))
      mix(twins, parts.subarray(start, end), messages, { rule: mean }, scratchFor(end - start))
    }
    assert.equal(covered, size)
    assert.deepEqual(parts, whole)
  }
})

test('tensors are cut at the edges of a fragment', () => {
  const tensors = [
    { name: 'a', offset: 0, length: 300 },
    { name: 'b', offset: 304, length: 500 },
    { name: 'c', offset: 900, length: 10 },
  ]
  assert.deepEqual(partsIn(tensors, { start: 256, end: 768 }), [
    { name: 'a', offset: 0, length: 44 },
    { name: 'b', offset: 48, length: 464 },
  ])
})

test('what is broken, of another scale or the opposite is refused with its reason, and never read', () => {
  const size = 500
  const own = draw(size, 1)
  const before = own.slice()
  const good = draw(size, 1)
  good[3] = good[3]! + 0.01
  const [nan, infinite, huge, tiny, negative] = Array.from({ length: 5 }, () => good.slice()) as [
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
  ]
  nan[size - 1] = Number.NaN
  infinite[0] = Number.POSITIVE_INFINITY
  twins.scale(huge, 1e6)
  twins.scale(tiny, 1e-6)
  twins.scale(negative, -1)
  const mixed = mix(twins, own, messagesOf(nan, infinite, huge, tiny, negative, good), { rule: mean }, scratchFor(size))
  assert.deepEqual(
    mixed.refused.map(({ peer, reason }) => `${peer} ${reason}`),
    ['p0 not-finite', 'p1 not-finite', 'p2 norm', 'p3 norm', 'p4 distance'],
  )
  assert.deepEqual(
    mixed.messages.map(({ coefficient }) => coefficient),
    [0, 0, 0, 0, 0, 0.5],
  )
  assert.ok(Math.abs(own[3]! - before[3]! - 0.005) < 1e-6)
  // Models from different starts are strangers, not liars.
  assert.deepEqual(
    measure(twins, before, messagesOf(draw(size, 2))).map(({ refused }) => refused),
    [undefined],
  )
  // A fragment of fresh biases has no scale.
  assert.equal(measure(twins, new Float32Array(size), messagesOf(good))[0]!.refused, undefined)
})

test('when nothing passes, nothing changes', () => {
  const own = draw(100, 1)
  const before = own.slice()
  const nan = new Float32Array(100).fill(Number.NaN)
  const mixed = mix(twins, own, messagesOf(nan), { rule: mean, guards: NO_GUARDS }, scratchFor(100))
  assert.equal(mixed.moved, 0)
  mix(twins, own, [], { rule: nearest(3) }, scratchFor(100))
  combine(twins, own, messagesOf(nan), [0], scratchFor(100))
  assert.deepEqual(own, before)
})

test('misuse and a diverged own model are errors', () => {
  const own = draw(100, 1)
  const options = { rule: mean }
  assert.throws(() => mix(twins, own, messagesOf(draw(99, 1)), options, scratchFor(100)), { code: 'length-mismatch' })
  for (const weight of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
    const messages = [{ peer: 'p', values: own.slice(), weight }]
    assert.throws(() => mix(twins, own, messages, options, scratchFor(100)), { code: 'bad-weight' })
  }
  const twice = [...messagesOf(draw(100, 2)), ...messagesOf(draw(100, 3))]
  assert.throws(() => mix(twins, own, twice, options, scratchFor(100)), { code: 'duplicate-peer' })
  own[7] = Number.NaN
  assert.throws(() => mix(twins, own, [], options, scratchFor(100)), { code: 'diverged' })
})
