import assert from 'node:assert/strict'
import { test } from 'node:test'
import { benchSpeed } from './speed.ts'

test('every size is measured in every way', () => {
  for (const directions of ['sign', 'gaussian'] as const) {
    const figures = benchSpeed({ parameters: [300_000, 1_000_000], directions, runs: 1 })
    assert.deepEqual(
      figures.map(({ parameters, twin }) => [parameters, twin !== undefined]),
      [
        [300_000, false],
        [1_000_000, true],
      ],
    )
    for (const { perSecond, contributionsPerSecond, parameters, ...others } of figures) {
      assert.ok(Math.abs(perSecond / (contributionsPerSecond * parameters) - 1) < 1e-9)
      for (const value of Object.values(others)) {
        assert.ok(typeof value !== 'number' || value > 0)
      }
    }
  }
})

test('a benchmark that is given up stops', () => {
  const signal = AbortSignal.abort(new Error('enough'))
  assert.throws(() => benchSpeed({ parameters: [1_000], signal }), { message: 'enough' })
})
