import assert from 'node:assert/strict'
import { test } from 'node:test'
import { spsaOptionsSchema } from './options.ts'
import { rateAt, scheduleAt, weightOf, weightRule } from './weights.ts'

const options = (changes: Record<string, unknown> = {}) => spsaOptionsSchema.parse(changes)

test('the schedule warms up and falls in straight lines', () => {
  const rule = weightRule(options({ warmup: 10, finalRate: 0.25 }), 110)
  assert.equal(scheduleAt(rule, 1), 0.1)
  assert.equal(scheduleAt(rule, 5), 0.5)
  assert.equal(scheduleAt(rule, 10), 1)
  assert.equal(scheduleAt(rule, 60), 0.625)
  assert.equal(scheduleAt(rule, 110), 0.25)
  const plain = weightRule(options({ finalRate: 0.25 }), 3)
  assert.deepEqual(
    [1, 2, 3].map((step) => scheduleAt(plain, step)),
    [1, 0.625, 0.25],
  )
  assert.equal(scheduleAt(weightRule(options(), 1), 1), 1)
  assert.equal(scheduleAt(weightRule(options({ warmup: 10 }), 5), 5), 0.5)
  assert.equal(rateAt(plain, 2), 0.625 * plain.learningRate)
})

test('weights are whole numbers; unit times weight is the rate, divided as the scaling says', () => {
  for (const [scaling, divisor] of [
    ['sum', () => 1],
    ['sqrt', Math.sqrt],
    ['mean', (n: number) => n],
  ] as const) {
    for (const directions of ['sign', 'gaussian'] as const) {
      const chosen = options({ scaling, directions, finalRate: 1 })
      const rule = weightRule(chosen, 100)
      for (const authors of [1, 2, 3, 4, 16, 64]) {
        const weight = weightOf(rule, 7, authors)
        assert.ok(Number.isInteger(weight) && weight > 0)
        // Gaussian directions come as integers that are √8 times too large.
        const rate = (rule.unit * weight * (directions === 'gaussian' ? Math.sqrt(8) : 1)) / chosen.quantum
        assert.ok(
          Math.abs((rate * divisor(authors)) / chosen.learningRate - 1) <= 0.5 / weight,
          `${scaling} ${authors}`,
        )
      }
    }
  }
})

test('a byte counts for no more than clip', () => {
  assert.equal(weightRule(options({ clip: 16, quantum: 2 ** -10 }), 1).limit, 16_384)
})
