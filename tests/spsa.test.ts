import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { buildRun } from '../daemon/run/index.ts'
import { createStage, type Peer, type Stage, until } from './support/peers.ts'

/** Small enough that a contribution takes milliseconds with every engine. */
const tiny = {
  model: { architecture: 'decoder', context: 16, layers: 1, width: 16, heads: 2, hidden: 32 } as const,
  data: { source: 'stories', bytes: 60_000 } as const,
}

/** Contributions of each peer: enough for one to be killed and another to come before the first has finished. */
const STEPS = 240

type Final = Extract<Awaited<ReturnType<Peer['events']>>[number], { kind: 'final' }>

/** What a node said of its finished model. */
async function finalOf(node: Peer): Promise<Final> {
  await node.finished
  const final = (await node.events()).findLast((event) => event.kind === 'final' && event.peer === node.peer)
  assert.ok(final?.kind === 'final', `${node.name} has no finished model`)
  return final
}

async function contributions(node: Peer): Promise<number> {
  const events = await node.events()
  const last = events.findLast((event) => event.kind === 'contributions' && event.peer === node.peer)
  return last?.kind === 'contributions' ? last.contributions : 0
}

describe('daemons that train by one byte per gradient', { timeout: 280_000 }, () => {
  let stage: Stage
  let failed = true
  before(async () => {
    stage = await createStage()
  })
  after(() => stage.end(failed))

  it('end with the same bits on every engine, with one killed and restarted and one that comes late', async () => {
    const run = buildRun({
      ...tiny,
      name: 'one byte',
      training: { batch: 4, steps: STEPS, evaluateEvery: STEPS },
      strategy: { name: 'spsa', batch: 8, syncEvery: 1 },
    })
    // The third takes what this machine has, which is the native engine where it is installed.
    const first = await stage.start('first', { manifest: run.bytes, engine: 'js' })
    const second = await stage.start('second', { link: first.link, engine: 'wasm' })
    const third = await stage.start('third', { link: first.link })
    await until('contributions of three at the first', async () => {
      const events = await first.events()
      return events.some((event) => event.kind === 'contributions' && event.peer === first.peer && event.authors === 3)
    })
    await second.kill()
    const fourth = await stage.start('fourth', { link: third.link })
    const again = await stage.start('second', { link: first.link, resume: true, engine: 'wasm' })
    assert.equal(again.peer, second.peer)

    const nodes = [first, again, third, fourth]
    const finals = await Promise.all(nodes.map(finalOf))
    const hashes = new Set(finals.map(({ sha256 }) => sha256))
    assert.equal(hashes.size, 1, JSON.stringify(finals))
    const logs = await Promise.all(nodes.map(({ folder }) => readFile(join(folder, 'final', 'contributions.log'))))
    for (const log of logs) {
      assert.deepEqual(log, logs[0], 'the logs hold the same contributions')
    }
    // As many of each of the four, whoever died in between: nothing that was published is lost, and nothing is counted twice.
    assert.equal(await contributions(first), 4 * STEPS)
    for (const node of nodes) {
      assert.deepEqual(
        (await node.events()).filter(({ kind }) => kind === 'excluded'),
        [],
        node.name,
      )
      assert.equal(await node.stop(), 0)
    }
    failed = false
  })
})
