import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { buildRun, describeFiles, openRun } from '../daemon/run/index.ts'
import { generateStories } from '../models/index.ts'
import { createStage, type Stage, until } from './support/peers.ts'

/** Small enough that a round takes a fraction of a second. */
const tiny = {
  model: { architecture: 'decoder', context: 16, layers: 1, width: 16, heads: 2, hidden: 32 } as const,
  strategy: { name: 'noloco', innerSteps: 25 },
}

describe('daemons as processes', { timeout: 280_000 }, () => {
  let stage: Stage
  let failed = true
  before(async () => {
    stage = await createStage()
  })
  after(() => stage.end(failed))

  it('two train together, a third joins from the link with data and replica, all finish, each stops cleanly', async () => {
    const text = join(stage.folder, 'some.txt')
    await writeFile(text, generateStories(3, 60_000))
    const data = (await describeFiles([text])) as never
    const run = buildRun({ ...tiny, name: 'two nodes', data, training: { batch: 4, steps: 3_000, evaluateEvery: 150 } })

    const first = await stage.start('first', { manifest: run.bytes, local: { dataPath: text } })
    const second = await stage.start('second', { link: first.link })
    assert.equal((await second.status()).run, run.id)
    await until('two exchanges at the second', async () => {
      const exchanges = (await second.events()).filter(
        (event) => event.kind === 'exchange' && event.peer === second.peer,
      )
      return exchanges.length >= 2
    })
    await until('the news of the first at the second', async () =>
      (await second.events()).some((event) => event.kind === 'evaluation' && event.peer === first.peer),
    )

    const third = await stage.start('third', { link: second.link })
    const joined = await until('the third takes over a replica', async () =>
      (await third.events()).find((event) => event.kind === 'joined' && event.peer === third.peer),
    )
    assert.ok(joined.kind === 'joined' && joined.donor !== undefined && joined.step > 0)
    await until('an exchange with the third', async () =>
      (await third.events()).some((event) => event.kind === 'exchange' && event.peer === third.peer),
    )
    const own = await until('an evaluation at the third', async () =>
      (await third.events()).find((event) => event.kind === 'evaluation' && event.peer === third.peer),
    )
    assert.ok(own.kind === 'evaluation')
    // Against what the second was worth at that step, not later: it trains on while this is looked at.
    const other = (await second.events()).findLast(
      (event) => event.kind === 'evaluation' && event.peer === second.peer && event.step <= own.step,
    )
    assert.ok(other?.kind === 'evaluation' && own.loss < other.loss * 1.3, 'it starts where the others are')
    assert.deepEqual((await third.peers()).map(({ peer }) => peer).sort(), [first.peer, second.peer, third.peer].sort())
    assert.equal(
      typeof (await third.generate({ prompt: 'One', tokens: 10, temperature: 1, topK: 0, seed: 1 })),
      'string',
    )

    await third.kill()
    await until('the others see that it is gone', async () =>
      (await first.events()).some((event) => event.kind === 'member-left' && event.member === third.peer),
    )

    await first.finished
    await second.finished
    for (const node of [first, second]) {
      const final = (await node.events()).find((event) => event.kind === 'final' && event.peer === node.peer)
      assert.ok(final?.kind === 'final' && final.replicas >= 2 && final.deviation > 0 && Number.isFinite(final.loss))
    }
    for (const node of [first, second]) {
      const begun = performance.now()
      assert.equal(await node.stop(), 0)
      assert.ok(performance.now() - begun < 5_000, 'a stop takes less than five seconds')
    }
    failed = false
  })

  it('a stopped node resumes where it was, and a second daemon may not have its folder meanwhile', async () => {
    failed = true
    const run = buildRun({
      ...tiny,
      name: 'resume',
      data: { source: 'stories', bytes: 60_000 },
      training: { batch: 4, steps: 1_000_000, evaluateEvery: 100 },
    })
    const node = await stage.start('resume', { manifest: run.bytes })
    await until('some rounds', async () => (await node.status()).round >= 3)
    await assert.rejects(stage.start('resume', { manifest: run.bytes }), { code: 'data-folder-in-use' })
    assert.equal(await node.stop(), 0)
    // Neither manifest nor link: the folder knows its run.
    const again = await stage.start('resume', { resume: true })
    const resumed = (await again.events()).find(({ kind }) => kind === 'resumed')
    assert.ok(resumed?.kind === 'resumed' && resumed.step >= 75)
    assert.ok(openRun(run.bytes).id === (await again.status()).run)
    await until('a step after the last one', async () => (await again.status()).step > resumed.step)

    // A kill loses at most what came after the last checkpoint.
    await again.kill()
    const third = await stage.start('resume', { resume: true })
    const later = (await third.events()).find(({ kind }) => kind === 'resumed')
    assert.ok(later?.kind === 'resumed' && later.step >= resumed.step)
    await third.stop()
    failed = false
  })

  it('bad starts end with one clear reason each', async () => {
    failed = true
    const run = buildRun({ ...tiny, data: { source: 'stories', bytes: 60_000 }, training: { steps: 10 } })
    await assert.rejects(stage.start('nothing', {}), { code: 'no-run' })
    await assert.rejects(stage.start('garbage', { manifest: Uint8Array.of(1, 2, 3) }), { code: 'bad-manifest' })
    await assert.rejects(stage.start('bad-link', { link: 'starling://nonsense?peer=/ip4/127.0.0.1/tcp/1' }), {
      code: 'bad-link',
    })
    await assert.rejects(stage.start('resume', { manifest: run.bytes }), { code: 'folder-other-run' })
    failed = false
  })
})
