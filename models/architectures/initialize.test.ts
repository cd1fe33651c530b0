import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'
import { initialize, layoutOf, type ModelConfig } from './index.ts'

const nano: ModelConfig = {
  architecture: 'decoder',
  vocabulary: 256,
  context: 64,
  layers: 4,
  width: 128,
  heads: 4,
  hidden: 320,
}

function start(model: ModelConfig, seed: number): Float32Array {
  const layout = layoutOf(model)
  const theta = new Float32Array(layout.length)
  initialize(layout, model, seed, theta)
  return theta
}

const digest = (theta: Float32Array) => createHash('sha256').update(new Uint8Array(theta.buffer)).digest('hex')

describe('initialize', () => {
  it('gives the same bits on every machine', () => {
    assert.equal(digest(start(nano, 1)), 'a159472101a2a088b6c207fcce63918cbd5eb48ef0d5f4319a5f5e27d6595a55')
  })

  it('gives other bits for another seed', () => {
    assert.notEqual(digest(start(nano, 1)), digest(start(nano, 2)))
  })

  it('has mean 0 and the deviation asked for', () => {
    const layout = layoutOf(nano)
    const theta = start(nano, 3)
    const { offset, length } = layout.tensors.find(({ name }) => name === 'lm_head.weight')!
    const values = theta.subarray(offset, offset + length)
    const mean = values.reduce((total, value) => total + value, 0) / length
    const deviation = Math.sqrt(values.reduce((total, value) => total + value * value, 0) / length)
    assert.ok(Math.abs(mean) < 0.0005)
    assert.ok(Math.abs(deviation - 0.02) < 0.0005)
  })
})
