import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  fetchManifest,
  MANIFEST_METHOD,
  runId,
  StarlingError,
  seededRandom,
  serveManifest,
} from '../protocols/index.ts'
import { createMemoryNetwork } from './index.ts'

const manifest = new TextEncoder().encode('any bytes have a name')
const run = runId(manifest)
const code = (wanted: string) => (error: unknown) => error instanceof StarlingError && error.code === wanted

test('a manifest is fetched by the name of its run from the first peer that has it', async () => {
  const network = createMemoryNetwork({ seed: 1 })
  const { clock } = network
  const joiner = network.join('joiner')
  const [silent, other, liar, honest] = ['a', 'b', 'c', 'd'].map((name) => network.join(name))
  silent?.freeze()
  serveManifest(other!, new TextEncoder().encode('another run'))
  liar?.answer(MANIFEST_METHOD, () => new TextEncoder().encode('not what you asked for'))
  const stop = serveManifest(honest!, manifest)
  assert.deepEqual(await clock.run(fetchManifest(joiner, run, { timeout: 500 })), manifest)
  assert.deepEqual(joiner.penalties, [{ peer: 'c', reason: 'wrong-manifest' }])
  stop()
  await assert.rejects(clock.run(fetchManifest(joiner, run, { timeout: 500 })), (error) => {
    assert.ok(code('no-manifest')(error))
    const failures = (error as StarlingError).data.failures as { code: string }[]
    assert.deepEqual(
      failures.map((failure) => failure.code),
      ['ask-timeout', 'no-such-run', 'wrong-manifest', 'unknown-method'],
    )
    return true
  })
})

test('fetching can be aborted, and says so when there is nobody to ask or the name is no name', async () => {
  const network = createMemoryNetwork({ seed: 1 })
  const joiner = network.join('joiner')
  await assert.rejects(fetchManifest(joiner, run), code('no-manifest'))
  await assert.rejects(fetchManifest(joiner, 'x'), code('bad-link'))
  network.join('a').freeze()
  const controller = new AbortController()
  const fetching = assert.rejects(fetchManifest(joiner, run, { signal: controller.signal }), code('aborted'))
  await network.clock.advance(100)
  controller.abort()
  await fetching
  assert.equal(joiner.outstanding, 0)
})

test('a peer that serves a manifest refuses every other question', async () => {
  const network = createMemoryNetwork({ seed: 1 })
  const [a, b] = [network.join('a'), network.join('b')]
  serveManifest(a, manifest)
  const random = seededRandom('manifest questions')
  for (let round = 0; round < 300; round++) {
    const bytes = Uint8Array.from({ length: random.integer(200) }, () => random.integer(256))
    await assert.rejects(network.clock.run(b.ask('a', MANIFEST_METHOD, bytes)), code('bad-message'))
  }
})
