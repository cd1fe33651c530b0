import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { openModel } from '../daemon/cli/model.ts'
import type { NodeEvent } from '../daemon/index.ts'
import { buildRun } from '../daemon/run/index.ts'
import { createStage, type Peer, type Stage, until } from './support/peers.ts'

/** Small enough that a step takes milliseconds with every engine. */
const tiny = {
  model: { architecture: 'decoder', context: 16, layers: 3, width: 16, heads: 2, hidden: 32 } as const,
  data: { source: 'stories', bytes: 60_000, validation: { rows: 8 } } as const,
}

/** Enough for a process to be killed, its stage to be rebuilt and the loss to fall on. */
const STEPS = 60

/** Milliseconds for a part of the training: each step goes through four processes, which a loaded machine lets run one after another. */
const LONG = 150_000

/** Step at which a holder is killed. */
const DEATH = 12

type Kind<K extends NodeEvent['kind']> = Extract<NodeEvent, { kind: K }>

/** Events of a kind that happened at a node. */
async function own<K extends NodeEvent['kind']>(node: Peer, kind: K): Promise<Kind<K>[]> {
  const events = await node.events()
  return events.filter((event): event is Kind<K> => event.kind === kind && event.peer === node.peer)
}

describe('daemons that hold the stages of one model', { timeout: 280_000 }, () => {
  let stage: Stage
  let failed = true
  before(async () => {
    stage = await createStage()
  })
  after(() => stage.end(failed))

  it('train it, go on when one is killed, and leave the whole model with the loss that was reported', async () => {
    const run = buildRun({
      ...tiny,
      name: 'stages',
      training: { batch: 4, steps: STEPS, evaluateEvery: 30, warmup: 10, learningRate: 0.01 },
      strategy: { name: 'pipeline', stages: 3, microbatches: 2, codec: 'float32' },
    })
    const first = await stage.start('first', { manifest: run.bytes, engine: 'js' })
    const others = await Promise.all(
      ['second', 'third', 'fourth'].map((name) => stage.start(name, { link: first.link, engine: 'js' })),
    )
    const nodes = [first, ...others]
    const data = await until('somebody takes the ends', async () => {
      const statuses = await Promise.all(nodes.map(async (node) => ({ node, status: await node.status() })))
      return statuses.find(({ status }) => status.pipeline?.stages.includes(0))?.node
    })
    await until(`step ${DEATH}`, async () => (await data.status()).step >= DEATH, LONG)
    const { flow } = (await data.status()).pipeline ?? {}
    const holders = new Map(flow?.holders.map(({ stage, peers }) => [stage, peers[0]]))
    assert.deepEqual([...holders.keys()].filter((stage) => stage > 0).sort(), [1, 2, 3])

    // The one in the middle, whose neighbours its stage is rebuilt from.
    const victim = nodes.find(({ peer }) => peer === holders.get(2))
    assert.ok(victim !== undefined && victim !== data, 'each of the four has a part of its own')
    // On a busy machine a holder may have been taken for dead before.
    const earlier = (await own(data, 'stage-recovered')).length
    await victim.kill()
    const [recovered] = await until(
      'the recovery',
      async () => {
        const events = (await own(data, 'stage-recovered')).slice(earlier)
        return events.length > 0 && events
      },
      LONG,
    )
    assert.ok(recovered?.stage === 2 && recovered.how === 'average', JSON.stringify(recovered))
    assert.ok(Number.isFinite(recovered.lossBefore) && Number.isFinite(recovered.lossAfter))
    const lost = await own(data, 'stage-lost')
    assert.ok(lost.some(({ stage, about }) => stage === 2 && about === victim.peer))

    const text = await data.generate({ prompt: 'One day', tokens: 3, temperature: 0, topK: 0, seed: 1 })
    assert.ok(text.length > 0)
    const holder = nodes.find((node) => node !== data && node !== victim)
    assert.ok(holder !== undefined)
    await assert.rejects(holder.generate({ prompt: 'x', tokens: 1, temperature: 0, topK: 0, seed: 1 }), /data/)

    const alive = nodes.filter((node) => node !== victim)
    await Promise.all(alive.map(({ finished }) => finished))
    const [final] = await own(data, 'final')
    assert.ok(final !== undefined && final.step === STEPS && final.stages === 3)
    assert.ok(final.loss < Math.log(256) - 1, `it learned: ${final.loss}`)
    for (const node of alive.filter((node) => node !== data)) {
      assert.equal((await own(node, 'final-elsewhere')).length, 1)
      assert.equal((await own(node, 'final')).length, 0)
    }
    for (const node of alive) assert.equal(await node.stop(), 0)

    const model = await openModel(join(data.folder, 'final'), { engine: 'js', needData: true })
    const { loss, step } = model.trainer.evaluate()
    model.trainer.dispose()
    assert.equal(step, STEPS)
    assert.ok(Math.abs(loss - final.loss) < 1e-4, `${loss} is ${final.loss}`)
    await assert.rejects(openModel(join(holder.folder, 'checkpoints'), { needData: true }), {
      code: 'checkpoint-missing',
    })
    await assert.rejects(openModel(holder.folder, { needData: true }), { code: 'checkpoint-partial' })
    failed = false
  })
})
