import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadKernels, SharedVectors } from '../../kernels/index.ts'
import { DEFAULT_GUARDS, mix, nearest } from '../mixing/index.ts'
import type { ComputeContext } from '../ports.ts'
import { normal, seededRandom } from '../random.ts'
import { type GossipOptions, gossipOptionsSchema } from './options.ts'
import { type Fragment, fragmentPlan } from './plan.ts'
import { encodeTask, gossipVectors, type Held, type MixArguments, mixTask, strideOf } from './tasks.ts'

/** Two slices and a bit in one fragment, and tensors that are cut by slices. */
const SIZE = 150_000

interface Bench {
  context: ComputeContext
  args: Omit<MixArguments, 'messages' | 'rule' | 'faulty' | 'guards'>
  fragment: Fragment
  options: GossipOptions
}

function bench(codec: GossipOptions['codec'], size = SIZE): Bench {
  const options = gossipOptionsSchema.parse({ codec, fragments: 1 })
  const vectors = SharedVectors.create({ theta: { type: 'float32', length: size }, ...gossipVectors(size, options) })
  const kernels = loadKernels(vectors)
  const context = {
    kernels,
    float32: (name: string) => vectors.float32(name),
    int32: (name: string) => vectors.int32(name),
    bytes: (name: string) => vectors.bytes(name),
  }
  const plan = fragmentPlan(size, options)
  const [fragment] = plan.fragments as [Fragment]
  const args = { fragment, codec, seed: 7, stride: strideOf(plan.largest), matrices: [] }
  return { context, args, fragment, options }
}

/** Puts what a peer with these parameters would send into a slot. */
function send({ context, args, fragment }: Bench, slot: number, values: Float32Array): void {
  const theta = context.float32('theta')
  const own = theta.slice()
  theta.set(values)
  encodeTask.run(context, { ...args, slot: 0 })
  const { stride } = args
  context.bytes('gossip-inbox').set(context.bytes('gossip-outbox').subarray(0, fragment.bytes), slot * stride)
  theta.set(own)
}

const held = (...slots: number[]): Held[] => slots.map((slot) => ({ peer: `p${slot}`, slot, weight: 1 }))

test('in float32 a group is mixed as protocols/mixing mixes whole vectors', () => {
  const table = bench('float32')
  const { context } = table
  const random = seededRandom('mix')
  const theta = context.float32('theta')
  theta.set(theta.map(() => normal(random)))
  const others = [0.1, 0.2, 1.4].map((scale) => theta.map((value) => value + scale * normal(random)))
  for (const [slot, values] of others.entries()) {
    send(table, slot, values)
  }
  const own = theta.slice()
  const vectors = SharedVectors.create(
    Object.fromEntries(
      ['own', 'a', 'b', 'c', 'pull', 'difference'].map((name) => [name, { type: 'float32' as const, length: SIZE }]),
    ),
  )
  for (const [i, values] of [own, ...others].entries()) {
    vectors.float32(['own', 'a', 'b', 'c'][i]!).set(values)
  }
  const expected = mix(
    loadKernels(vectors),
    vectors.float32('own'),
    ['a', 'b', 'c'].map((name, i) => ({ peer: `p${i}`, values: vectors.float32(name) })),
    { rule: nearest(1), guards: DEFAULT_GUARDS },
    { pull: vectors.float32('pull'), difference: vectors.float32('difference') },
  )
  const mixed = mixTask.run(context, {
    ...table.args,
    messages: held(0, 1, 2),
    rule: 'nearest',
    faulty: 1,
    guards: true,
  })
  assert.deepEqual(
    mixed.messages.map(({ coefficient }) => coefficient),
    expected.messages.map(({ coefficient }) => coefficient),
  )
  assert.equal(mixed.messages[2]!.coefficient, 0)
  for (const [i, { distance }] of mixed.messages.entries()) {
    assert.ok(Math.abs(distance - expected.messages[i]!.distance) < 1e-3 * distance)
  }
  const wanted = vectors.float32('own')
  assert.ok(theta.every((value, i) => Math.abs(value - wanted[i]!) < 1e-5))
})

test('equal models stay equal to the bit, whatever the code', () => {
  for (const codec of ['int8', 'int8-stochastic', 'float16', 'float32'] as const) {
    const table = bench(codec, 1_000)
    const theta = table.context.float32('theta')
    const random = seededRandom('equal')
    theta.set(theta.map(() => normal(random)))
    const before = theta.slice()
    send(table, 0, theta)
    send(table, 1, theta)
    const mixed = mixTask.run(table.context, {
      ...table.args,
      messages: held(0, 1),
      rule: 'mean',
      faulty: 0,
      guards: true,
    })
    assert.equal(mixed.disagreement, 0)
    assert.deepEqual(theta, before, codec)
  }
})

test('a malformed, a huge and a far message are refused, each for its reason, and move nothing', () => {
  const table = bench('int8')
  const { context, args } = table
  const theta = context.float32('theta')
  const random = seededRandom('refused')
  theta.set(theta.map(() => normal(random)))
  const before = theta.slice()
  send(table, 0, theta)
  context.bytes('gossip-inbox').fill(0xff, 0, args.stride)
  send(
    table,
    1,
    theta.map((value) => 100 * value),
  )
  send(
    table,
    2,
    theta.map((value) => -value),
  )
  const mixed = mixTask.run(context, { ...args, messages: held(0, 1, 2), rule: 'mean', faulty: 0, guards: true })
  assert.deepEqual(
    mixed.messages.map(({ refused }) => refused),
    ['bad-tensor', 'norm', 'distance'],
  )
  assert.deepEqual(theta, before)

  // The plain mean of an experiment takes everything but what is no number.
  const plain = mixTask.run(context, { ...args, messages: held(0, 1, 2), rule: 'mean', faulty: 0, guards: false })
  assert.deepEqual(
    plain.messages.map(({ refused }) => refused),
    ['bad-tensor', undefined, undefined],
  )
  const mean = (1 + 100 - 1) / 3
  assert.ok(theta.every((value, i) => Math.abs(value - mean * before[i]!) < 1))
})

test('the average of two strangers gets its variance back, tensor by tensor', () => {
  const table = bench('float32')
  const { context, args } = table
  const theta = context.float32('theta')
  const random = seededRandom('strangers')
  theta.set(theta.map(() => normal(random)))
  send(
    table,
    0,
    theta.map(() => normal(random)),
  )
  const matrices = [{ name: 'weight', offset: 0, length: SIZE }]
  const mixed = mixTask.run(context, { ...args, matrices, messages: held(0), rule: 'mean', faulty: 0, guards: true })
  assert.ok(
    mixed.corrected.length > 0 && mixed.corrected.every(({ tensor, ratio }) => tensor === 'weight' && ratio < 0.6),
  )
  const variance = theta.reduce((sum, value) => sum + value ** 2, 0) / SIZE
  assert.ok(Math.abs(variance - 1) < 0.02, `${variance}`)
})

test('who comes seldom pulls harder, and at most four times as hard as the middle one', () => {
  const table = bench('float32', 1_000)
  const { context, args } = table
  context.float32('theta').fill(1)
  for (const slot of [0, 1, 2]) {
    send(table, slot, new Float32Array(1_000).fill(1.1))
  }
  const messages = [1, 2, 50].map((weight, slot) => ({ peer: `p${slot}`, slot, weight }))
  const mixed = mixTask.run(context, { ...args, messages, rule: 'mean', faulty: 0, guards: true })
  const [a, b, c] = mixed.messages.map(({ coefficient }) => coefficient)
  assert.ok(Math.abs(b! - 2 * a!) < 1e-9 && Math.abs(c! - 4 * a!) < 1e-9, `${a} ${b} ${c}`)
})

test('parameters that are not finite are an error of this peer, not of the others', () => {
  const table = bench('int8', 1_000)
  table.context.float32('theta').fill(Number.NaN, 3, 4)
  assert.throws(() => encodeTask.run(table.context, { ...table.args, slot: 0 }), { code: 'diverged' })
})
