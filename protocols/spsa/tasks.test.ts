import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Kernels, loadKernels, SharedVectors, twins } from '../../kernels/index.ts'
import type { ComputeContext } from '../ports.ts'
import { partNumber, partOf } from './arithmetic.ts'
import { directionKeys } from './directions.ts'
import { type Effect, effectsBetween } from './effects.ts'
import { spsaOptionsSchema } from './options.ts'
import {
  adoptTask,
  applyTask,
  auditTask,
  clearTask,
  dotTask,
  driftTask,
  perturbTask,
  refreshTask,
  snapshotTask,
  spsaVectors,
} from './tasks.ts'
import type { VersionVector } from './types.ts'
import { type WeightRule, weightRule } from './weights.ts'

/** Some groups of directions and a rest. */
const SIZE = 5 * 2048 + 333
const RUN = 'bafyrun'
const STEPS = 400

const BYTES = new Map(
  ['ada', 'bob', 'cyd'].map((author, a) => [
    author,
    Uint8Array.from({ length: STEPS }, (_, i) => (i % 3 === 1 ? 0x80 : 0) | (1 + ((31 * i + a) % 100))),
  ]),
)
const bytesOf = (author: string): Uint8Array => BYTES.get(author)!

function peer(kind: Kernels['kind'] = 'simd', size = SIZE): ComputeContext {
  const vectors = SharedVectors.create({ theta: { type: 'float32', length: size }, ...spsaVectors(size) })
  const base = vectors.float32('base')
  for (let i = 0; i < size; i++) {
    base[i] = ((i * 2_654_435_761) % 1_000) / 1_000 - 0.5
  }
  return {
    kernels: kind === 'simd' ? loadKernels(vectors) : twins,
    float32: (name) => vectors.float32(name),
    int32: (name) => vectors.int32(name),
    bytes: (name) => vectors.bytes(name),
  }
}

const ruleOf = (changes: Record<string, unknown> = {}): WeightRule =>
  weightRule(spsaOptionsSchema.parse(changes), STEPS)

const apply = (context: ComputeContext, from: VersionVector, to: VersionVector, rule: WeightRule) =>
  applyTask.run(context, { run: RUN, effects: effectsBetween(from, to, bytesOf, rule), rule })

/** What the sums of effects are by the definition, without the kernels' batches. */
function byDefinition(effects: readonly Effect[], rule: WeightRule): Int32Array {
  const sums = new Int32Array(SIZE)
  for (const { author, from, coefficients } of effects) {
    for (const [i, coefficient] of coefficients.entries()) {
      const { start, end } = partOf(from + i, SIZE, rule)
      const key = directionKeys(RUN, author).of(from + i)
      twins.addDirections(sums.subarray(start, end), key, Int32Array.of(coefficient), 1, rule.directions, start)
    }
  }
  return sums
}

test('the sums are those of the definition, with every kind of direction and parts', () => {
  for (const changes of [
    {},
    { directions: 'gaussian', scaling: 'mean' },
    { variant: 'seeded', blocks: 3, coordinates: 3, scaling: 'sqrt' },
    { variant: 'seeded', blocks: 16, coordinates: 16 },
  ]) {
    const rule = ruleOf(changes)
    const set = new Map([
      ['ada', 40],
      ['bob', 23],
    ])
    const effects = effectsBetween(new Map(), set, bytesOf, rule)
    const context = peer()
    const { work, largest, seconds } = apply(context, new Map(), set, rule)
    assert.deepEqual(context.int32('sums'), byDefinition(effects, rule))
    assert.ok(largest >= context.kernels.maxAbs(context.int32('sums')))
    assert.ok(seconds > 0)
    const pieces = effects.flatMap(({ from, coefficients }) =>
      [...coefficients].map((coefficient, i) => {
        const { start, end } = partOf(from + i, SIZE, rule)
        return coefficient === 0 ? 0 : end - start
      }),
    )
    assert.equal(
      work,
      pieces.reduce((sum, piece) => sum + piece, 0),
    )
  }
})

test('all ways to a set, with removals, end in the same bits of the parameters', () => {
  for (const scaling of ['sum', 'mean']) {
    const rule = ruleOf({ scaling })
    const goal = new Map([
      ['ada', 200],
      ['cyd', 130],
    ])
    const direct = peer()
    apply(direct, new Map(), goal, rule)
    refreshTask.run(direct, { rule })
    const count = fc.integer({ min: 0, max: 300 })
    fc.assert(
      fc.property(fc.array(fc.tuple(count, count, count), { maxLength: 3 }), (stops) => {
        const context = peer()
        let at: VersionVector = new Map()
        for (const [ada, bob, cyd] of stops) {
          const next = new Map(Object.entries({ ada, bob, cyd }).filter(([, n]) => n > 0))
          apply(context, at, next, rule)
          at = next
        }
        apply(context, at, goal, rule)
        refreshTask.run(context, { rule })
        assert.deepEqual(context.int32('sums'), direct.int32('sums'))
        assert.deepEqual(context.float32('theta'), direct.float32('theta'))
      }),
      { seed: 1, numRuns: 6 },
    )
  }
})

test('parts cover the parameters without overlap, at boundaries of direction groups', () => {
  for (const [size, blocks] of [
    [SIZE, 1],
    [SIZE, 4],
    [SIZE, 6],
    [SIZE, 100],
    [5, 3],
  ] as const) {
    let end = 0
    for (let index = 0; index < blocks; index++) {
      const part = partNumber(index, size, { blocks })
      assert.equal(part.start, end)
      assert.ok(part.end >= part.start && (part.end % 2048 === 0 || part.end === size))
      end = part.end
    }
    assert.equal(end, size)
  }
})

test('a sum that could leave 32 bits is refused, and nothing is changed', () => {
  const rule = ruleOf()
  const context = peer()
  const sums = context.int32('sums')
  sums.fill(2 ** 31 - 2 ** 24)
  // The first batch of directions fits, the second one might not.
  const before = sums.slice()
  const heavy: Effect = { author: 'ada', from: 1, coefficients: new Int32Array(300).fill(-130_000) }
  assert.throws(() => applyTask.run(context, { run: RUN, effects: [heavy], rule }), { code: 'sums-overflow' })
  assert.deepEqual(sums, before)
  // The same directions are let in where they cannot overflow, although their magnitudes add up to more than 32 bits.
  clearTask.run(context, null)
  const balanced: Effect = { author: 'ada', from: 1, coefficients: new Int32Array(1_000).fill(4_000_000) }
  const { largest } = applyTask.run(context, { run: RUN, effects: [balanced], rule })
  assert.ok(largest < 2 ** 30 && largest >= context.kernels.maxAbs(sums))
  sums[7] = -(2 ** 30) - 5
  assert.equal(applyTask.run(context, { run: RUN, effects: [], rule }).largest, 2 ** 30 + 5)
})

test('points beside theta are theta ± epsilon z, and theta stays', () => {
  for (const directions of ['sign', 'gaussian'] as const) {
    const context = peer()
    refreshTask.run(context, { rule: ruleOf() })
    const theta = context.float32('theta').slice()
    const at = { run: RUN, author: 'ada', step: 3, epsilon: 2 ** -8, directions }
    perturbTask.run(context, { ...at, sign: 1 })
    const plus = context.float32('candidate').slice()
    perturbTask.run(context, { ...at, sign: -1 })
    const minus = context.float32('candidate')
    assert.deepEqual(context.float32('theta'), theta)
    const z = new Int32Array(SIZE)
    twins.addDirections(z, directionKeys(RUN, 'ada').of(3), Int32Array.of(1), 1, directions, 0)
    for (let i = 0; i < SIZE; i++) {
      const step = (plus[i]! - minus[i]!) / 2 ** -7
      const expected = directions === 'sign' ? z[i]! : z[i]! / Math.sqrt(8)
      assert.ok(Math.abs(step - expected) < 1e-4, `${directions} ${i}: ${step} instead of ${expected}`)
    }
  }
})

test('drift is put aside, and its products with the directions of its steps are taken part by part', () => {
  const rule = ruleOf({ variant: 'seeded', blocks: 3, coordinates: 3 })
  const context = peer()
  refreshTask.run(context, { rule })
  const [theta, base] = [context.float32('theta'), context.float32('base')]
  const drift = Float32Array.from(base, (_, i) => ((i % 7) - 3) / 1_024)
  for (let i = 0; i < SIZE; i++) {
    theta[i] = theta[i]! + drift[i]!
  }
  const { norm } = driftTask.run(context, { rule })
  assert.deepEqual(theta, base)
  const expectedNorm = Math.sqrt(drift.reduce((sum, value) => sum + value * value, 0))
  assert.ok(Math.abs(norm / expectedNorm - 1) < 1e-3)
  const products = dotTask.run(context, { run: RUN, author: 'bob', from: 2, count: 4, rule })
  const candidate = context.float32('candidate')
  for (const [i, product] of products.entries()) {
    const { start, end } = partOf(2 + i, SIZE, rule)
    const key = directionKeys(RUN, 'bob').of(2 + i)
    assert.equal(product, twins.dotDirection(candidate.subarray(start, end), key, 'sign', start))
  }
  assert.equal(new Set(products).size, 4)
})

test('an audit in slices passes the sums of the set and finds a block that is not theirs', () => {
  for (const changes of [{ scaling: 'mean' }, { variant: 'seeded', blocks: 3, coordinates: 3 }]) {
    const rule = ruleOf(changes)
    const [half, whole] = [
      new Map([['ada', 150]]),
      new Map([
        ['ada', 300],
        ['bob', 35],
      ]),
    ]
    const context = peer()
    apply(context, new Map(), whole, rule)
    snapshotTask.run(context, null)
    clearTask.run(context, null)
    const audit = (blocks: number[]) => {
      const task = { run: RUN, rule, blocks, vector: 'snapshot' as const }
      const [first, second] = [
        effectsBetween(new Map(), half, bytesOf, rule),
        effectsBetween(half, whole, bytesOf, rule),
      ]
      assert.deepEqual(auditTask.run(context, { ...task, effects: first, first: true, last: false }), {})
      return auditTask.run(context, { ...task, effects: second, first: false, last: true })
    }
    assert.deepEqual(audit([0, 1, 3, 5]), {})
    context.int32('snapshot')[3 * 2048 + 7]! += 1
    assert.deepEqual(audit([0, 1, 3, 5]), { mismatch: 3 })
    assert.deepEqual(audit([0, 1, 5]), {})
    context.int32('snapshot')[3 * 2048 + 7]! -= 1
    context.int32('snapshot')[SIZE - 1]! ^= 1
    assert.deepEqual(audit([0, 1, 3, 5]), { mismatch: 5 })
    context.int32('snapshot')[SIZE - 1]! ^= 1
    adoptTask.run(context, null)
    apply(context, whole, new Map(), rule)
    assert.ok(context.int32('sums').every((sum) => sum === 0))
  }
})
