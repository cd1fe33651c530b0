/** Daemons as processes that gossip fragments: one of them dies and comes back, one of them lies. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { buildRun } from '../daemon/run/index.ts'
import { createStage, type Peer, type Stage, until } from './support/peers.ts'

/** Several times as much work as the last peer has with its start. */
const STEPS = 1_200

type Event = Awaited<ReturnType<Peer['events']>>[number]

async function own<K extends Event['kind']>(node: Peer, kind: K): Promise<Extract<Event, { kind: K }>[]> {
  const events = await node.events()
  return events.filter((event): event is Extract<Event, { kind: K }> => event.kind === kind && event.peer === node.peer)
}

describe('daemons that gossip fragments', { timeout: 180_000 }, () => {
  let stage: Stage
  let failed = true
  before(async () => {
    stage = await createStage()
  })
  after(() => stage.end(failed))

  it('mix what the others publish, refuse what a liar publishes, and go on after a kill', async () => {
    const run = buildRun({
      name: 'fragments',
      model: { architecture: 'decoder', context: 16, layers: 1, width: 16, heads: 2, hidden: 32 },
      data: { source: 'stories', bytes: 40_000 },
      training: { batch: 4, steps: STEPS, evaluateEvery: STEPS },
      strategy: { name: 'gossip' },
    })
    const first = await stage.start('first', { manifest: run.bytes })
    const [second, liar] = await Promise.all([
      stage.start('second', { link: first.link }),
      stage.start('liar', { link: first.link, attack: 'huge-norm' }),
    ])
    assert.equal((await liar.status()).attack, 'huge-norm')
    await until('the first mixes, and names the liar', async () => {
      const [mixed, rejected] = [await own(first, 'mixed'), await own(first, 'rejected')]
      return mixed.some(({ fragments }) => fragments > 0) && rejected.some(({ about }) => about === liar.peer)
    })
    await second.kill()
    const again = await stage.start('second', { link: first.link, resume: true })
    assert.equal(again.peer, second.peer)
    await Promise.all([first.finished, again.finished, liar.finished])
    for (const node of [first, again]) {
      const [final] = await own(node, 'final')
      assert.ok(final !== undefined && final.loss < Math.log(256) - 1, `${node.name} learned: ${final?.loss}`)
      const rejected = await own(node, 'rejected')
      assert.ok(
        rejected.every(({ about }) => about === liar.peer),
        JSON.stringify(rejected),
      )
    }
    for (const node of [first, again, liar]) {
      assert.equal(await node.stop(), 0)
    }
    failed = false
  })
})
