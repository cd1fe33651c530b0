import assert from 'node:assert/strict'
import { test } from 'node:test'
import { twins } from '../../kernels/index.ts'
import { seededRandom } from '../random.ts'
import { addToMean, consensusError, counterfactualGain, type Message, mean, mix, nearest } from './index.ts'
import { moments } from './variance.ts'

const SIZE = 4_096

const tensors = [{ name: 'weight', offset: 16, length: SIZE - 16 }]

/** A fresh weight matrix, of variance 1/12 times scale squared, behind 16 biases. */
function fresh(seed: number, scale = 1): Float32Array {
  const random = seededRandom('fresh', seed)
  return Float32Array.from({ length: SIZE }, (_, i) => (i < 16 ? 0.5 : scale * (random.uniform() - 0.5)))
}

const scratch = { pull: new Float32Array(SIZE), difference: new Float32Array(SIZE) }
const varianceOf = (model: Float32Array): number => moments(model.subarray(16)).variance
const messagesOf = (models: Float32Array[]): Message[] => models.map((values, i) => ({ peer: `p${i}`, values }))

test('the average of k strangers has 1/k of their variance; the guard restores it and says so', () => {
  for (const k of [2, 4, 8, 16]) {
    const own = fresh(0)
    const others = Array.from({ length: k - 1 }, (_, i) => fresh(i + 1))
    const mixed = mix(twins, own, messagesOf(others), { rule: mean, tensors }, scratch)
    assert.equal(mixed.corrected.length, 1)
    assert.ok(Math.abs(mixed.corrected[0]!.ratio * k - 1) < 0.1, `${k}: ${mixed.corrected[0]!.ratio}`)
    assert.ok(Math.abs(varianceOf(own) * 12 - 1) < 0.05)
    assert.ok(own.subarray(0, 16).every((bias) => bias === 0.5))
  }
})

test('models from one start are left as they are averaged', () => {
  const start = fresh(0)
  const near = (seed: number): Float32Array => {
    const model = fresh(seed, 0.3)
    twins.axpy(model, 1, start)
    return model
  }
  const own = near(1)
  const plain = own.slice()
  const messages = messagesOf([near(2), near(3), near(4)])
  assert.deepEqual(mix(twins, own, messages, { rule: mean, tensors }, scratch).corrected, [])
  mix(twins, plain, messages, { rule: mean }, scratch)
  assert.deepEqual(own, plain)
})

test('a loud message cannot make the guard blow the own weights up', () => {
  const own = fresh(0)
  mix(twins, own, messagesOf([fresh(1), fresh(2), fresh(3, 9)]), { rule: mean, tensors }, scratch)
  assert.ok(varianceOf(own) * 12 < 81 / 16 + 1.1, 'no more than the plain average of it')
  // Dropped by the rule, it has no say in the target either.
  const careful = fresh(0)
  const mixed = mix(
    twins,
    careful,
    messagesOf([fresh(1), fresh(2), fresh(3, 9)]),
    { rule: nearest(1), tensors },
    scratch,
  )
  assert.deepEqual(mixed.refused, [{ peer: 'p2', reason: 'dropped' }])
  assert.ok(Math.abs(varianceOf(careful) * 12 - 1) < 0.05)
})

test('a constant tensor and one too short to measure are left alone', () => {
  const own = new Float32Array(SIZE).fill(1)
  const parts = [...tensors, { name: 'short', offset: 0, length: 16 }]
  assert.deepEqual(mix(twins, own, messagesOf([own.slice()]), { rule: mean, tensors: parts }, scratch).corrected, [])
  assert.ok(own.every((value) => value === 1))
})

test('one merge of all: the mean, model by model', () => {
  const models = Array.from({ length: 33 }, (_, i) => fresh(i))
  const merged = new Float32Array(SIZE)
  for (const [i, model] of models.entries()) {
    addToMean(twins, merged, model, i + 1)
  }
  for (const k of [0, 16, SIZE - 1]) {
    const exact = models.reduce((sum, model) => sum + model[k]!, 0) / models.length
    assert.ok(Math.abs(merged[k]! - exact) < 1e-6)
  }
  assert.equal(consensusError(twins, merged, [merged, merged]), 0)
  assert.ok(consensusError(twins, merged, models) > 1)
})

test('the counterfactual gain is that of the merged model over the mean of the local ones', () => {
  const locals = [
    { loss: 2, accuracy: 0.25 },
    { loss: 3, accuracy: 0.75 },
  ]
  assert.deepEqual(counterfactualGain({ loss: 1, accuracy: 0.75 }, locals), { loss: 1.5, accuracy: 0.25 })
  assert.deepEqual(counterfactualGain({ loss: 3 }, locals), { loss: -0.5 })
})
