import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../random.ts'
import {
  type AttackModules,
  createAttack,
  decoderSymmetries,
  definitions,
  largestShift,
  normalQuantile,
} from './index.ts'

const SIZE = 400

function draw(seed: number | string): Float32Array {
  const random = seededRandom('attacks-test', seed)
  return Float32Array.from({ length: SIZE }, () => random.uniform() - 0.5)
}

const symmetries = [
  {
    units: 4,
    tensors: [
      { offset: 0, outer: 1, inner: 10, power: 1 },
      { offset: 100, outer: 5, inner: 1, power: -1 },
    ],
  },
] as const

const modules = (seed = 1): AttackModules => ({ random: seededRandom('attack', seed), symmetries })

const before = draw('before')
const honest = [draw(1), draw(2), draw(3)]
const knowledge = { honest, before, peers: 4, faulty: 1 }

function sent(text: string, own = honest[0]!, seed = 1): Float32Array {
  const message = own.slice()
  createAttack(text, modules(seed))(message, knowledge)
  return message
}

const meanAt = (i: number): number => honest.reduce((sum, model) => sum + model[i]!, 0) / honest.length
const near = (a: number, b: number): void => assert.ok(Math.abs(a - b) < 1e-6, `${a} instead of ${b}`)

test('every attack sends a message of the right size, the same for the same seed, and spares what it knows', () => {
  const copies = [before, ...honest].map((vector) => vector.slice())
  for (const { name } of definitions) {
    assert.deepEqual(sent(name), sent(name))
    assert.equal(sent(name).length, SIZE)
  }
  assert.deepEqual([before, ...honest], copies)
})

test('crafted models are what the papers say', () => {
  for (const i of [0, 17, SIZE - 1]) {
    near(sent('sign-flip')[i]!, -meanAt(i))
    near(sent('sign-flip:3')[i]!, -3 * meanAt(i))
    near(sent('inner-product:2')[i]!, before[i]! - 2 * (meanAt(i) - before[i]!))
    const deviation = Math.sqrt(honest.reduce((sum, model) => sum + (model[i]! - meanAt(i)) ** 2, 0) / honest.length)
    near(sent('alie:1.5')[i]!, meanAt(i) - 1.5 * deviation)
  }
})

test("ALIE's shift is that of its formula", () => {
  for (const [p, x] of [
    [0.5, 0],
    [0.841345, 1],
    [0.158655, -1],
    [0.975, 1.959964],
    [0.001, -3.090232],
  ] as const) {
    assert.ok(Math.abs(normalQuantile(p) - x) < 5e-4)
  }
  // n = 50, f = 12: s = 14, z = Phi^-1(24/38) = 0.336.
  assert.ok(Math.abs(largestShift(50, 12) - 0.336) < 0.001)
  assert.equal(largestShift(13, 0), 0)
})

test('broken and lazy peers', () => {
  const own = honest[0]!
  assert.equal(sent('nan:0').filter(Number.isNaN).length, 1)
  assert.ok(sent('nan:0.1').filter(Number.isNaN).length > SIZE / 20)
  near(sent('huge-norm:10')[3]!, 10 * own[3]!)
  assert.deepEqual(sent('free-rider'), before)
  const disguised = sent('free-rider:0.5')
  assert.ok(disguised.every((value, i) => Math.abs(value - before[i]!) <= 0.5 * Math.abs(own[i]! - before[i]!) + 1e-6))
  assert.notDeepEqual(disguised, before)
  const noisy = sent('noise:2')
  const power = (x: Float32Array): number => x.reduce((sum, value) => sum + value * value, 0)
  const difference = noisy.map((value, i) => value - own[i]!)
  assert.ok(Math.abs(Math.sqrt(power(difference) / power(own)) - 2) < 0.2)
})

test('a replay sends an own message of the past', () => {
  const messages = (text: string): number[] => {
    const attack = createAttack(text, modules())
    return [1, 2, 3, 4, 5].map((value) => {
      const message = new Float32Array(3).fill(value)
      attack(message, knowledge)
      return message[0]!
    })
  }
  assert.deepEqual(messages('stale-replay'), [1, 1, 1, 1, 1])
  assert.deepEqual(messages('stale-replay:2'), [1, 1, 3, 3, 5])
})

test('a rotation moves units whole, inverse in the tensors that read them, and leaves the rest', () => {
  const own = honest[0]!
  const message = sent('rotation:4')
  assert.notDeepEqual(message, own)
  for (let unit = 0; unit < 4; unit++) {
    // The product of what writes a unit and what reads it is that of some unit of the own model.
    const product = (vector: Float32Array, k: number): number[] =>
      [0, 9].flatMap((i) => [0, 4].map((o) => vector[10 * k + i]! * vector[100 + 4 * o + k]!))
    const target = product(message, unit)
    assert.ok(
      [0, 1, 2, 3].some((k) => product(own, k).every((value, i) => Math.abs(value - target[i]!) < 1e-6)),
      `unit ${unit}`,
    )
  }
  assert.deepEqual(message.subarray(40, 100), own.subarray(40, 100))
  assert.deepEqual(message.subarray(120), own.subarray(120))
  assert.throws(() => createAttack('rotation', { random: seededRandom(1), symmetries: [] }), { code: 'bad-option' })
})

test('the symmetries of a decoder lie in its tensors', () => {
  let offset = 0
  const tensors = [
    ['self_attn.q_proj', 8, 8],
    ['self_attn.k_proj', 4, 8],
    ['self_attn.v_proj', 4, 8],
    ['self_attn.o_proj', 8, 8],
    ['mlp.gate_proj', 12, 8],
    ['mlp.up_proj', 12, 8],
    ['mlp.down_proj', 8, 12],
  ].map(([part, rows, columns]) => {
    const length = (rows as number) * (columns as number)
    const shape = [rows as number, columns as number]
    const tensor = { name: `model.layers.0.${part}.weight`, shape, offset, length }
    offset += length
    return tensor
  })
  const found = decoderSymmetries(tensors, 2)
  assert.deepEqual(
    found.map(({ units }) => units),
    [12, 2],
  )
  for (const { units, tensors: used } of found) {
    for (const { offset: at, outer, inner } of used) {
      const tensor = tensors.find(({ offset: start }) => start === at)
      assert.equal(outer * units * inner, tensor?.length)
    }
  }
  assert.throws(() => decoderSymmetries(tensors.slice(1), 2), { code: 'bad-layout' })
  assert.deepEqual(decoderSymmetries([], 2), [])
})

test('an attack that does not exist or makes no sense is refused with what is allowed', () => {
  for (const text of [
    '',
    'flip',
    'sign-flip:x',
    'sign-flip:',
    'sign-flip:-1',
    'sign-flip:1:2',
    'rotation:0.5',
    'noise:Infinity',
  ]) {
    assert.throws(() => createAttack(text, modules()), { code: 'bad-option' }, text)
  }
  assert.throws(() => createAttack('flip', modules()), /sign-flip, inner-product, alie/)
})
