import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { openEngine } from '../engine/index.ts'
import { benchEngine } from './index.ts'

describe('benchEngine', () => {
  it('accounts for the time of a step and leaves no tensor', async () => {
    const engine = await openEngine()
    const before = engine.tf.memory().numTensors
    const parts: string[] = []
    const report = benchEngine(engine, {
      presets: ['gpt-nano'],
      steps: 2,
      rows: 2,
      context: 8,
      onPart: (part) => parts.push(part),
    })
    assert.deepEqual(parts, ['gpt-nano', 'adamw', 'product'])
    const [nano] = report.models
    assert.ok(nano !== undefined && nano.operations > 100)
    assert.ok(nano.outsideProducts > 0 && nano.outsideProducts < 1)
    assert.ok((nano.milliseconds.matMul ?? 0) > 0)
    assert.ok(report.adamw.parametersPerSecond > 0 && report.product.gflops > 0)
    assert.equal(engine.tf.memory().numTensors, before)
  })
})
