import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { twins as kernels } from '../../kernels/index.ts'
import { averageInto, planRecovery, type RecoveryState, recoveryRules, twinOf } from './recovery.ts'

/** Six stages of which those in `lost` are gone; the first of them is rebuilt. */
const plan = (lost: number[], state: Partial<RecoveryState> = {}, norms: Record<number, number> = {}) => {
  const stages = state.stages ?? 6
  const all = Array.from({ length: stages }, (_, i) => i + 1)
  return planRecovery({
    stages,
    lost: lost[0]!,
    alive: all.filter((stage) => !lost.includes(stage)),
    rule: 'checkfree',
    norm: (stage) => norms[stage],
    ...state,
  })
}

/** The stage that a plan makes of the stages' parameters. */
function rebuilt({ sources }: ReturnType<typeof planRecovery>, parameters: (stage: number) => number[]): Float32Array {
  const place = Float32Array.from(parameters(sources[0]!.stage))
  if (sources[1] !== undefined)
    averageInto(kernels, place, Float32Array.from(parameters(sources[1].stage)), sources[1].weight)
  return place
}

/** Of neighbours 1 and 4 around stage 3, with these gradient norms. */
const between = (left: number, right: number, state: Partial<RecoveryState> = {}) =>
  rebuilt(plan([3], state, { 2: left, 4: right }), (stage) => [stage === 2 ? 1 : 4])[0]!

test('neighbours count by their gradient norms, and only the ratio of these matters', () => {
  assert.equal(between(1, 3), 3.25)
  assert.equal(between(1000, 3000), 3.25)
  assert.equal(between(2, 2), 2.5)
  assert.equal(between(3, 0), 1)
  assert.equal(between(0, 3), 4)
  assert.deepEqual(plan([3], {}, { 2: 3, 4: 0 }).sources, [{ stage: 2, weight: 1 }])
  assert.equal(plan([3], {}, { 2: 1, 4: 3 }).how, 'average')
  assert.equal(between(1, 3, { rule: 'uniform' }), 2.5)
})

test('after clipping, as in the code of the authors, large norms weigh the same', () => {
  const norms = 'after-clip'
  assert.equal(between(5, 20, { norms }), 2.5)
  assert.equal(between(5, 15), 3.25)
  const expected = Math.fround((0.5001 * 1 + 0.2501 * 4) / 0.7502)
  assert.ok(Math.abs(between(0.5, 0.25, { norms }) - expected) < 1e-6)
  assert.equal(between(0, 0, { norms }), 2.5)
})

test('norms that say nothing weigh nothing', () => {
  for (const [left, right] of [
    [undefined, 1],
    [1, undefined],
    [0, 0],
    [Number.NaN, 1],
    [1, Number.POSITIVE_INFINITY],
    [-1, 2],
    [Number.MAX_VALUE, Number.MAX_VALUE],
  ]) {
    const made = planRecovery({
      stages: 3,
      lost: 2,
      alive: [1, 3],
      rule: 'checkfree',
      norm: (stage) => (stage === 1 ? left : right),
    })
    const sources = [
      { stage: 1, weight: 0.5 },
      { stage: 3, weight: 0.5 },
    ]
    assert.deepEqual(made, { sources, how: 'uniform', degraded: false, rate: 1.1 }, `${left} and ${right}`)
  }
})

test('the first and the last stage: copies of their twins, or degraded copies of their neighbours', () => {
  const copyOf = (stage: number, how: string, degraded: boolean) => ({
    sources: [{ stage, weight: 1 }],
    how,
    degraded,
    rate: 1.1,
  })
  for (const [lost, from] of [
    [1, 2],
    [2, 1],
    [5, 6],
    [6, 5],
  ] as const) {
    assert.deepEqual(plan([lost], { twins: true }), copyOf(from, 'twin', false))
  }
  assert.deepEqual(plan([1]), copyOf(2, 'neighbour', true))
  assert.deepEqual(plan([6]), copyOf(5, 'neighbour', true))
  assert.equal(plan([3], { twins: true }).sources.length, 2, 'all others are averaged')
  assert.deepEqual(
    [1, 2, 3, 4].map((stage) => twinOf(stage, 4)),
    [2, 1, 4, 3],
  )
  assert.equal(twinOf(1, 3), undefined)
  assert.equal(twinOf(3, 6), undefined)
  assert.deepEqual(
    [5, 6, 7].map((stage) => twinOf(stage, 7)),
    [undefined, 7, 6],
  )
})

test('a copy is of the stage before, else of the nearest that lives', () => {
  const copy = { rule: 'copy' } as const
  for (const [lost, from, degraded] of [
    [[4], 3, false],
    [[4, 3], 2, true],
    [[1], 2, true],
    [[2, 1, 3], 4, true],
  ] as const) {
    const made = plan([...lost], copy)
    assert.deepEqual([made.sources[0]?.stage, made.degraded, made.how], [from, degraded, 'neighbour'], `${lost}`)
  }
})

test('stages that are lost together are rebuilt from the nearest that live', () => {
  const norms = { 1: 1, 2: 1, 3: 1, 4: 3, 5: 3, 6: 3 }
  // Not adjacent: each has its own neighbours, as the paper asks.
  assert.deepEqual(plan([3, 5], {}, norms), {
    sources: [
      { stage: 2, weight: 0.25 },
      { stage: 4, weight: 0.75 },
    ],
    how: 'average',
    degraded: false,
    rate: 1.1,
  })
  const adjacent = plan([3, 4], {}, norms)
  assert.deepEqual(
    adjacent.sources.map(({ stage }) => stage),
    [2, 5],
  )
  assert.ok(adjacent.degraded)
  assert.deepEqual(plan([5, 6]).sources, [{ stage: 4, weight: 1 }])
  // A twin that is gone too.
  assert.deepEqual(plan([2, 1], { twins: true }).sources, [{ stage: 3, weight: 1 }])
  assert.ok(plan([2, 1], { twins: true }).degraded)
})

test('whatever is lost, sources live, sum to 1, and are none only where none can help', () => {
  const stages = fc.integer({ min: 1, max: 9 })
  fc.assert(
    fc.property(
      stages,
      fc.nat(),
      fc.array(fc.boolean(), { minLength: 9, maxLength: 9 }),
      fc.constantFrom(...recoveryRules),
      fc.boolean(),
      fc.array(fc.oneof(fc.double({ min: 0 }), fc.constant(undefined)), { minLength: 9, maxLength: 9 }),
      (count, draw, lives, rule, twins, norms) => {
        const lost = 1 + (draw % count)
        const alive = Array.from({ length: count }, (_, i) => i + 1).filter((s) => s !== lost && lives[s - 1])
        const state = { stages: count, lost, rule, twins, norm: (stage: number) => norms[stage - 1] }
        const made = planRecovery({ ...state, alive })
        assert.deepEqual(planRecovery({ ...state, alive: [...alive.toReversed(), lost, 0, 99] }), made)
        assert.ok(made.sources.every(({ stage, weight }) => alive.includes(stage) && weight > 0 && weight <= 1))
        const fetches = rule !== 'random' && rule !== 'checkpoint' && alive.length > 0
        const sum = made.sources.reduce((total, { weight }) => total + weight, 0)
        assert.ok(fetches ? Math.abs(sum - 1) < 1e-12 : made.sources.length === 0)
        assert.equal(made.rate, rule === 'checkpoint' ? 1 : 1.1)
      },
    ),
  )
})

test('with nobody left the run begins again there, and a stage that is none is refused', () => {
  assert.deepEqual(plan([1, 2, 3, 4, 5, 6]), { sources: [], how: 'random', degraded: true, rate: 1.1 })
  assert.deepEqual(plan([3], { rule: 'random' }), { sources: [], how: 'random', degraded: false, rate: 1.1 })
  assert.deepEqual(plan([3], { rule: 'checkpoint' }), { sources: [], how: 'checkpoint', degraded: false, rate: 1 })
  for (const lost of [0, 7, 1.5, Number.NaN]) assert.throws(() => plan([lost]), { code: 'bad-stage' })
  assert.equal(plan([3], { rateAfterRecovery: 1.2 }).rate, 1.2)
})

test('equal neighbours give what they are, and slices the bits of the whole', () => {
  const values = fc.float32Array({ minLength: 1, maxLength: 40, noNaN: true, min: -1e6, max: 1e6 })
  fc.assert(
    fc.property(values, fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(40), (stage, weight, cut) => {
      // -0 becomes 0, which is the same number.
      const place = stage.map((value) => value + 0)
      averageInto(kernels, place, stage.slice(), weight)
      assert.deepEqual(
        place,
        stage.map((value) => value + 0),
      )

      const other = stage.map((value, i) => Math.fround(value * 0.5 + i))
      const whole = stage.slice()
      averageInto(kernels, whole, other.slice(), weight)
      const sliced = stage.slice()
      const arriving = other.slice()
      for (const [from, to] of [
        [0, cut],
        [cut, stage.length],
      ] as const)
        averageInto(kernels, sliced.subarray(from, to), arriving.subarray(from, to), weight)
      assert.deepEqual(sliced, whole)
    }),
  )
})

test('where a stage does what its neighbours do on average, losing it changes nothing', () => {
  // Residual stages x <- x + f_k x with f_2 = (f_1 + f_3) / 2; squared loss against a target.
  const f = [0.5, 1, 1.5]
  const loss = (factors: number[]) => (factors.reduce((x, factor) => x + factor * x, 2) - 10) ** 2
  const made = plan([2], { stages: 3 }, { 1: 0.7, 3: 0.7 })
  const middle = rebuilt(made, (stage) => [f[stage - 1]!])[0]!
  assert.equal(loss([f[0]!, middle, f[2]!]), loss(f))
  const random = loss([f[0]!, 0, f[2]!])
  assert.ok(Math.abs(random - loss(f)) > 1, 'a stage begun again would not')
})
