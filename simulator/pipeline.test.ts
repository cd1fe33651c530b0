import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { naturalOrder } from '../protocols/index.ts'
import {
  type Board,
  createWorld,
  distance,
  exactGradients,
  finish,
  eventsOf as of,
  startAll,
} from './testing/pipeline.ts'

/** One data peer, and one holder for each stage: s1, s2, ... */
const line = (stages: number): Board => ({
  d: [0],
  ...Object.fromEntries(naturalOrder(stages).map((stage) => [`s${stage}`, [stage]])),
})

describe('a pipeline whose stages stay where they are', () => {
  test('one step has the gradients of the network in one piece', async () => {
    const board = line(3)
    const strategy = { stages: 3, microbatches: 4, codec: 'float32' }
    const world = createWorld({ seed: 1, strategy, board, steps: 3 })
    await startAll(world, board)
    await finish(world)
    assert.equal(world.taken.length, 3 * 4)
    for (const { part, step, gradient } of world.taken) {
      const exact = exactGradients(world.cut, 'd', step, Array(4).fill(naturalOrder(3)))
      assert.ok(distance(gradient, exact.gradients[part]!) < 1e-5, `part ${part} of step ${step}`)
    }
    const steps = of(world.processes.get('d')!, 'step')
    assert.deepEqual(
      steps.map(({ step }) => step),
      [1, 2, 3],
    )
    for (const { step, loss } of steps) {
      assert.ok(Math.abs(loss - exactGradients(world.cut, 'd', step, Array(4).fill(naturalOrder(3))).loss) < 1e-5)
    }
  })
})
