import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { clipped, type Group, type MixingRule, mean, nearest, nearestOfRecent, RecentDistances } from './index.ts'

/** A group of equal weights, the own model's included. */
function group(distances: readonly number[], refused = 0): Group {
  return {
    peers: distances.map((_, i) => `peer-${i}`),
    distances,
    shares: distances.map(() => 1 / (distances.length + 1)),
    refused,
  }
}

const rules: Record<string, () => MixingRule> = {
  mean: () => mean,
  nearest: () => nearest(2),
  clipped: () => clipped({ faulty: 2 }),
  'clipped at 1': () => clipped(1),
  'nearest of recent': () => nearestOfRecent(new RecentDistances(), 0.3),
}

test('whatever the distances, no rule pulls backwards or past the messages', () => {
  const distances = fc.array(fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1e30, noNaN: true })), { maxLength: 12 })
  for (const [name, make] of Object.entries(rules)) {
    fc.assert(
      fc.property(
        distances,
        fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 13, maxLength: 13 }),
        (all, weights) => {
          const total = weights.slice(0, all.length + 1).reduce((sum, weight) => sum + weight, 0)
          const shares = all.map((_, i) => weights[i]! / total)
          const coefficients = make()({ ...group(all), shares })
          assert.equal(coefficients.length, all.length)
          assert.ok(coefficients.every((coefficient) => coefficient >= 0))
          assert.ok(coefficients.reduce((sum, coefficient) => sum + coefficient, 0) < 1, name)
        },
      ),
    )
  }
})

test('nearest drops the f farthest and averages the rest with the own model', () => {
  // n = 7, f = 2: six received, four kept, and the own one.
  const coefficients = nearest(2)(group([3, 9, 1, 2, 8, 4]))
  assert.ok([0.2, 0, 0.2, 0.2, 0, 0.2].every((expected, i) => Math.abs(coefficients[i]! - expected) < 1e-12))
  assert.deepEqual(nearest(0)(group([3, 9])), mean(group([3, 9])))
  assert.deepEqual(nearest(2)(group([1, 1])), [0, 0], 'of two messages of which two may be faulty none is taken')
  assert.deepEqual(nearest(2)(group([3, 9, 1, 2], 2)), mean(group([3, 9, 1, 2])), 'the guards found both already')
})

test('with at most f liars, nearest keeps none that is farther away than an honest message', () => {
  const distance = fc.double({ min: 0, max: 1e6, noNaN: true })
  fc.assert(
    fc.property(
      fc.array(distance, { minLength: 1, maxLength: 10 }),
      fc.array(distance, { maxLength: 4 }),
      (honest, liars) => {
        const kept = nearest(4)(group([...honest, ...liars])).slice(honest.length)
        const farthest = Math.max(...honest)
        assert.ok(liars.every((liar, i) => kept[i] === 0 || liar <= farthest))
      },
    ),
  )
})

test('a clipped message pulls no harder than one at the radius', () => {
  const coefficients = clipped({ faulty: 1 })(group([1, 2, 1e9]))
  assert.deepEqual(coefficients.slice(0, 2), [0.25, 0.25])
  assert.ok(Math.abs(coefficients[2]! * 1e9 - 0.25 * 2) < 1e-9)
  assert.deepEqual(clipped(5)(group([5, 10])), [1 / 3, 1 / 6])
})

test('one by one, a message is dropped when it is farther than those of all but a share of the peers', () => {
  const recent = new RecentDistances()
  for (let i = 0; i < 9; i++) {
    recent.isFar(`honest-${i}`, 1 + i / 10, 0.3)
  }
  const rule = nearestOfRecent(recent, 0.3)
  const one = (peer: string, distance: number): number =>
    rule({ peers: [peer], distances: [distance], shares: [0.5], refused: 0 })[0]!
  assert.equal(one('liar', 50), 0)
  assert.equal(one('honest-2', 1.2), 0.5)
  // Ten peers, of which three may be far: the liar, honest-8 and honest-7.
  assert.equal(one('honest-7', 1.7), 0)
  assert.equal(one('honest-6', 1.6), 0.5)
})

test('a peer that floods moves its own entry only', () => {
  const recent = new RecentDistances()
  for (let i = 0; i < 9; i++) {
    recent.isFar(`honest-${i}`, 1 + i / 10, 0.3)
  }
  for (let i = 0; i < 1000; i++) {
    assert.equal(recent.isFar('liar', 1000 - i / 100, 0.3), true)
  }
  assert.equal(recent.entries().length, 10)
  const restored = new RecentDistances()
  restored.restore(recent.entries())
  assert.deepEqual(restored.entries(), recent.entries())
  for (let i = 0; i < 1000; i++) {
    restored.isFar(`sybil-${i}`, 5, 0.3)
  }
  assert.equal(restored.entries().length, 256)
})
