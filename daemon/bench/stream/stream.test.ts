import '../../shims.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { benchStream } from './index.ts'

test('a small blob is measured in all three ways, and both processes end', async () => {
  const done: number[] = []
  const figures = await benchStream({ bytes: 3 * 1024 * 1024 + 5, runs: 2, onRun: (run) => done.push(run) })
  assert.deepEqual(done, [0, 1, 2])
  assert.equal(figures.bytes, 3 * 1024 * 1024 + 5)
  for (const speed of [figures.socket, figures.ask, figures.pull]) {
    assert.ok(speed.min > 0 && speed.min <= speed.median && speed.median <= speed.max)
  }
  assert.ok(figures.share > 0)
  assert.ok(figures.peakMemory.giver > 3 && figures.peakMemory.taker > 3)
})

test('a benchmark that is given up ends its processes', async () => {
  const controller = new AbortController()
  const measured = benchStream(
    { bytes: 1024 * 1024, runs: 1_000, onRun: () => controller.abort(new Error('enough')) },
    controller.signal,
  )
  await assert.rejects(measured, { message: 'enough' })
})
