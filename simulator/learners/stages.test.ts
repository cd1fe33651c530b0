import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { loadKernels, SharedVectors } from '../../kernels/index.ts'
import {
  cutModel,
  dataSchema,
  type ModelConfig,
  openDataset,
  openEngine,
  stageVectors,
  type TrainingConfig,
} from '../../models/index.ts'
import { createVirtualClock } from '../index.ts'
import { createStagePeer } from './stages.ts'

const model: ModelConfig = {
  architecture: 'decoder',
  vocabulary: 256,
  context: 16,
  layers: 2,
  width: 16,
  heads: 2,
  hidden: 16,
}
const training: TrainingConfig = { batch: 4, steps: 40, optimizer: { name: 'adamw', learningRate: 0.02 } }

describe('a simulated peer of a pipeline', async () => {
  const engine = await openEngine({ prefer: 'js' })
  const cut = cutModel(model, { stages: 2, places: 1, microbatches: 2, accumulators: 1 }, training.batch)
  const data = dataSchema.parse({ source: 'stories', bytes: 20_000 })
  const dataset = await openDataset({ data, context: 16, seed: 1, shard: { peer: 'a' } })

  const peer = (clock = createVirtualClock()) => {
    const vectors = SharedVectors.create({
      ...stageVectors(training, cut),
      travels: { type: 'float32', length: cut.rows * 16 * 16 },
    })
    const kernels = loadKernels(vectors)
    const options = { engine, kernels, vectors, model, training, cut, dataset, seed: 1, clock, milliseconds: 10 }
    return { ...createStagePeer(options), vectors, clock }
  }

  it('takes its time for every call, in order', async () => {
    const { stages, learner, clock, close } = peer()
    const order: string[] = []
    const note = (what: string) => () => void order.push(`${what} ${clock.now()}`)
    const task = { name: 'test.note', run: () => null }
    const all = Promise.all([
      stages.initial(0, 'ends').then(note('ends')),
      stages.initial(2, 0).then(note('stage')),
      learner.compute(task, null).then(note('task')),
      stages.embed({ kind: 'training', batch: 0, microbatch: 0 }).then(note('embed')),
    ])
    await clock.run(all)
    assert.deepEqual(order, ['ends 10', 'stage 20', 'task 20', 'embed 30'])
    close()
  })

  it('teaches a decoder over three peers', async () => {
    const clock = createVirtualClock()
    const peers = [peer(clock), peer(clock), peer(clock)] as const
    const [data, first, second] = peers
    const carry = (from: (typeof peers)[number], to: (typeof peers)[number]) => {
      to.vectors.float32('stream').set(from.vectors.float32('stream'))
    }
    const train = async (): Promise<number[]> => {
      await data.stages.initial(0, 'ends')
      await first.stages.initial(1, 0)
      await second.stages.initial(2, 0)
      const losses: number[] = []
      for (let step = 1; step <= training.steps; step++) {
        let total = 0
        for (const microbatch of [0, 1]) {
          const source = { kind: 'training', batch: step - 1, microbatch } as const
          const rows = await data.stages.embed(source, 0)
          carry(data, first)
          await first.stages.forward(0, rows, 0)
          carry(first, second)
          await second.stages.forward(0, rows, 0)
          carry(second, data)
          total += (await data.stages.loss(source, 0)).loss
          carry(data, second)
          await second.stages.backward(0, 0)
          carry(second, first)
          await first.stages.backward(0, 0)
          carry(first, data)
          await data.stages.backward(0, 0)
        }
        const schedule = { step, applied: step, rate: 1 }
        await Promise.all([
          data.stages.step('ends', 0, schedule),
          first.stages.step(0, 0, schedule),
          second.stages.step(0, 0, schedule),
        ])
        losses.push(total / (training.batch * 16))
      }
      return losses
    }
    const losses = await clock.run(train())
    assert.ok(
      (losses.at(-1) as number) < 0.75 * (losses[0] as number),
      `loss fell from ${losses[0]} to ${losses.at(-1)}`,
    )
    for (const { close } of peers) close()
  })

  it('refuses what needs the whole model, passes on codes, and ends at once', async () => {
    const { stages, learner, clock, close } = peer()
    await assert.rejects(learner.train(1), { code: 'no-whole-model' })
    await clock.run(assert.rejects(stages.forward(0, 2), { name: 'StarlingError', code: 'place-empty' }))
    const waiting = assert.rejects(stages.initial(0, 'ends'), { code: 'aborted' })
    close()
    await clock.run(waiting)
  })
})
