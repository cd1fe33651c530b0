import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { loadKernels } from '../kernels/index.ts'
import {
  cutModel,
  dataSchema,
  type ModelConfig,
  openDataset,
  openEngine,
  StageTrainer,
  stageVectors,
} from '../models/index.ts'
import { naturalOrder, pipelineOptionsSchema, plannedPaths, twinOrder } from '../protocols/index.ts'
import {
  type Board,
  checkCommitted,
  createWorld,
  distance,
  exactGradients,
  finish,
  linearModel,
  eventsOf as of,
  type PipelineModel,
  startAll,
  type World,
} from './testing/pipeline.ts'

/** One data peer, and one holder for each stage: s1, s2, ... */
const line = (stages: number): Board => ({
  d: [0],
  ...Object.fromEntries(naturalOrder(stages).map((stage) => [`s${stage}`, [stage]])),
})

/** Every microbatch through all stages in their order. */
const natural = (stages: number, microbatches: number): number[][] =>
  Array.from({ length: microbatches }, () => naturalOrder(stages))

/** Even ones so, odd ones with twins swapped. */
const swapped = (stages: number, microbatches: number): number[][] =>
  natural(stages, microbatches).map((order, m) => (m % 2 === 1 ? twinOrder(stages) : order))

async function trained(
  board: Board,
  options: Omit<Parameters<typeof createWorld>[0], 'seed' | 'board'>,
): Promise<World> {
  const world = createWorld({ seed: 1, steps: 3, ...options, board })
  await startAll(world, board)
  await finish(world)
  return world
}

/** A decoder of four layers, with the trainer of real peers. */
async function decoder(options: Record<string, unknown>): Promise<PipelineModel> {
  const { stages, microbatches, places, dataPeers } = pipelineOptionsSchema.parse(options)
  const model: ModelConfig = {
    architecture: 'decoder',
    vocabulary: 256,
    context: 8,
    layers: 4,
    width: 16,
    heads: 2,
    hidden: 16,
  }
  const training = { batch: 4, steps: 10, optimizer: { name: 'adamw' as const, learningRate: 0.01 } }
  const engine = await openEngine({ prefer: 'js' })
  const whole = { stages, microbatches, places, accumulators: dataPeers }
  const data = dataSchema.parse({ source: 'stories', bytes: 20_000 })
  const dataset = await openDataset({ data, context: 8, seed: 1, shard: { peer: 'd' } })
  return {
    cut: cutModel(model, whole, training.batch),
    vectors: (cut) => stageVectors(training, cut),
    trainer(_name, { places: room, accumulators }, vectors) {
      const cut = cutModel(model, { ...whole, places: room, accumulators }, training.batch)
      return new StageTrainer({
        engine,
        kernels: loadKernels(vectors),
        vectors,
        model,
        training,
        cut,
        dataset,
        seed: 1,
      })
    },
  }
}

describe('a pipeline', () => {
  test('takes the steps of the network in one piece, and puts it together at the end', async () => {
    const world = await trained(line(3), { strategy: { stages: 3, codec: 'float32' } })
    checkCommitted(world, line(3), natural(3, 4), 'sequential')
    assert.equal(world.taken.length, 3 * 4)
    const data = world.processes.get('d')!
    assert.deepEqual(
      of(data, 'step').map(({ step }) => step),
      [1, 2, 3],
    )
    for (const { step, loss } of of(data, 'step')) {
      assert.ok(Math.abs(loss - exactGradients(world.model, 'd', step, natural(3, 4)).loss) < 1e-5)
    }
    const { parts, step } = data.strategy.whole!()!
    assert.equal(step, 3)
    assert.deepEqual(
      parts.map(({ length }) => length),
      world.cut.sizes,
    )
    assert.deepEqual(
      parts[2],
      world.processes.get('s2')!.learner.float32('theta').slice(world.cut.sizes[0]!).slice(0, world.cut.sizes[2]!),
    )
    for (const process of world.processes.values()) {
      assert.equal(of(process, 'finished').length, 1)
    }
  })

  test('one microbatch after the other has the gradients of the network in one piece to the bit', async () => {
    const world = await trained(line(2), { strategy: { stages: 2, codec: 'float32', inFlight: 1 } })
    for (const { part, step, gradient } of world.taken) {
      assert.deepEqual(gradient, exactGradients(world.model, 'd', step, natural(2, 4)).gradients[part])
    }
  })

  test('learns', async () => {
    const strategy = { stages: 4, microbatches: 2, routing: 'twins' }
    const model = linearModel(pipelineOptionsSchema.parse(strategy), { rate: 0.05 })
    const world = await trained(line(4), { strategy, model, steps: 60, evaluateEvery: 20 })
    const losses = of(world.processes.get('d')!, 'evaluation').map(({ loss }) => loss)
    assert.ok(losses.at(-1)! < 0.5 * losses[0]!, `validation loss: ${losses.join(', ')}`)
  })

  for (const codec of ['float16', 'int8'] as const) {
    test(`activations in ${codec} change gradients by what the code rounds off`, async () => {
      const world = await trained(line(3), { strategy: { stages: 3, codec } })
      for (const { part, step, gradient } of world.taken) {
        const exact = exactGradients(world.model, 'd', step, natural(3, 4)).gradients[part]!
        const size = Math.max(...exact.map(Math.abs))
        const off = distance(gradient, exact) / size
        assert.ok(off < (codec === 'int8' ? 0.05 : 0.003) && off > 0, `part ${part}: off by ${off}`)
      }
    })
  }

  test('activations too large for a question are pulled in pieces', async () => {
    const strategy = { stages: 2, microbatches: 2, codec: 'float32' }
    const model = linearModel(pipelineOptionsSchema.parse(strategy), { rows: 50_000 })
    const world = await trained(line(2), { strategy, model, steps: 1 })
    assert.ok(4 * model.cut.rows * model.cut.stream[0]! > 1024 * 1024)
    checkCommitted(world, line(2), natural(2, 2), 'pieces')
  })

  test('swapped twins have the gradients of the explicitly composed network', async () => {
    for (const stages of [4, 5, 6]) {
      const world = await trained(line(stages), { strategy: { stages, routing: 'twins', codec: 'float32' } })
      checkCommitted(world, line(stages), swapped(stages, 4), `${stages} stages`)
    }
  })

  test('random routing: over all replicas the gradients are those of the network in one piece, and everybody gets as much', async () => {
    const board: Board = { d: [0], e: [0], a1: [1], a2: [1], b1: [2], b2: [2], c1: [3], c2: [3] }
    const strategy = { stages: 3, microbatches: 4, dataPeers: 2, routing: 'random', codec: 'float32' }
    const world = await trained(board, { strategy })
    checkCommitted(world, board, natural(3, 4), 'random')
    // Two microbatches of each data peer's four go to each replica, or of both together four.
    const steps = (peer: string): number => world.taken.filter((each) => each.peer === peer && each.part > 0).length
    assert.ok(['a1', 'a2', 'b1', 'b2', 'c1', 'c2'].every((peer) => steps(peer) > 0))
  })

  test('partial paths have the gradients of the explicitly composed network; who is left out takes no step', async () => {
    const orders = [
      [1, 2],
      [1, 3],
      [1, 3, 2],
      [1, 2],
    ]
    const paths = plannedPaths(4, () =>
      orders.map((order) => ({ path: order.map((stage) => ({ stage, peer: `s${stage}` })), start: 3 })),
    )
    const world = await trained(line(4), { strategy: { stages: 4, codec: 'float32' }, paths })
    const taken = new Set(world.taken.map(({ part }) => part))
    assert.deepEqual([...taken].sort(), [0, 1, 2, 3])
    checkCommitted(world, line(4), orders, 'partial')
  })

  test('planned paths through all stages change nothing, to the bit', async () => {
    const strategy = { stages: 3, codec: 'float32' }
    const whole = naturalOrder(3).map((stage) => ({ stage, peer: `s${stage}` }))
    const paths = plannedPaths(3, () => [{ path: whole, start: 0 }])
    const [planned, plain] = [await trained(line(3), { strategy, paths }), await trained(line(3), { strategy })]
    assert.deepEqual(planned.taken, plain.taken)
  })

  test('plans are agreed upon and trained by', async () => {
    const strategy = { stages: 4, routing: 'skip', skip: { keep: 3, fullEvery: 5 }, codec: 'float32' }
    const world = await trained(line(4), { strategy, steps: 30, evaluateEvery: 30 })
    const data = world.processes.get('d')!
    assert.equal(of(data, 'plan-agreed').length, 1)
    assert.equal(of(data, 'step').length, 30)
  })

  test('a real decoder in stages has the gradients of the whole one, whatever the paths', async () => {
    for (const [routing, orders] of [
      ['sequential', natural(4, 4)],
      ['twins', swapped(4, 4)],
      ['random', natural(4, 4)],
    ] as const) {
      const strategy = { stages: 4, routing, codec: 'float32' }
      const board: Board = { d: [0, 4], a: [1, 3], b: [2] }
      const model = await decoder(strategy)
      const world = await trained(board, { strategy, model, steps: 1 })
      checkCommitted(world, board, orders, routing)
    }
  })

  test('continues a text through all stages, and with some left out', async () => {
    const strategy = { stages: 3, codec: 'float32' }
    const board = line(3)
    const world = createWorld({ seed: 1, strategy, board, steps: 1_000 })
    await startAll(world, board)
    const { clock } = world.network
    const data = world.processes.get('d')!
    const { signal } = new AbortController()
    await clock.runUntil(() => of(data, 'step').length > 0)
    const all = await clock.run(data.strategy.logits!([1, 2], signal))
    const again = await clock.run(data.strategy.logits!([1, 2], signal))
    const fewer = await clock.run(data.strategy.logits!([1, 2], signal, [2]))
    assert.deepEqual(all, again)
    assert.ok(distance(all, fewer) > 1e-3)
    await assert.rejects(clock.run(world.processes.get('s1')!.strategy.logits!([1], signal)), {
      code: 'not-a-data-peer',
    })
    await Promise.all([...world.processes.values()].map((process) => clock.run(process.stop())))
  })
})
