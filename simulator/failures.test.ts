import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chanceOfAny, drawFailures, replayCheckpoints, replayCost } from './failures.ts'

test('every strategy of a comparison meets the same failures', () => {
  const options = { seed: 3, stages: 6, steps: 500, chance: 0.01 }
  const failures = drawFailures(options)
  assert.deepEqual(drawFailures(options), failures)
  assert.notDeepEqual(drawFailures({ ...options, seed: 4 }), failures)
  assert.deepEqual(drawFailures({ ...options, steps: 200 }), failures.slice(0, 200))
  const fewer = drawFailures({ ...options, chance: 0.004 })
  assert.ok(fewer.every((lost, step) => lost.every((stage) => failures[step]!.includes(stage))))
})

test('stages are lost as often as asked, none more often than another', () => {
  const [stages, steps, chance] = [6, 20_000, 0.01]
  const failures = drawFailures({ seed: 1, stages, steps, chance })
  const tolerance = 3 * Math.sqrt((chance * (1 - chance)) / steps)
  for (let stage = 1; stage <= stages; stage++) {
    const rate = failures.filter((lost) => lost.includes(stage)).length / steps
    assert.ok(Math.abs(rate - chance) < tolerance, `stage ${stage}: ${rate}`)
  }
  const any = failures.filter((lost) => lost.length > 0).length / steps
  assert.ok(Math.abs(any - chanceOfAny(chance, stages)) < 3 * Math.sqrt(0.06 / steps), String(any))
})

test('a failure sets the model back to the last checkpoint', () => {
  const failed = [false, false, true, false, false, true, true, false]
  assert.deepEqual(replayCheckpoints(failed, 4), [1, 2, 1, 2, 3, 3, 3, 4])
  assert.deepEqual(replayCheckpoints(failed, 1), [1, 2, 3, 4, 5, 6, 7, 8], 'a checkpoint a step loses nothing')
})

test('replayed checkpoints cost what the closed form says', () => {
  const steps = 100_000
  for (const [chance, interval] of [
    [0.0009, 100],
    [0.002, 100],
    [0.004, 100],
    [0.004, 50],
    [0.004, 10],
  ] as const) {
    const failed = drawFailures({ seed: 5, stages: 6, steps, chance }).map((lost) => lost.length > 0)
    const cost = steps / replayCheckpoints(failed, interval).at(-1)!
    const expected = replayCost(interval, chanceOfAny(chance, 6))
    assert.ok(Math.abs(cost / expected - 1) < 0.05, `${chance}, ${interval}: ${cost} instead of ${expected}`)
  }
  assert.equal(replayCost(100, 0), 1)
  assert.ok(Math.abs(replayCost(100, chanceOfAny(0.004, 6)) - 2.61) < 0.02)
})
