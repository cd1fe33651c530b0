import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StarlingError } from '../../errors.ts'
import { sha256 } from '../../hash.ts'
import { runId } from '../../manifest/index.ts'
import { createLog } from './log.ts'
import { decodeRunLog, encodeRunLog } from './log-file.ts'
import { contributions, MemoryRecords, segmentOf, signed, verify } from './testing/fixtures.ts'

const clock = { sleep: async () => {} }
const manifest = Buffer.from('the canonical bytes of a manifest')
const run = runId(manifest)

async function someLog(): Promise<ReturnType<typeof createLog>> {
  const log = createLog(
    { run, self: 'me', steps: 100, maxAuthors: 8 },
    { records: new MemoryRecords(), sign: async (data) => signed('me', data), verify, clock, report: () => {} },
  )
  await log.open()
  await log.append(contributions(40), 1)
  await log.accept(await segmentOf('a', contributions(30, 1), 1, run))
  await log.accept(await segmentOf('b', [1, 2, 3], 1, run))
  await log.accept(await segmentOf('b', [1, 2, 4], 1, run))
  return log
}

const bad = (error: unknown): boolean => error instanceof StarlingError && error.code === 'bad-run-log'

test('a run log gives back the manifest, the contributions and the proofs', async () => {
  const log = await someLog()
  const file = encodeRunLog({ manifest, log })
  assert.deepEqual(await decodeRunLog(file, { verify, clock }), {
    manifest: new Uint8Array(manifest),
    run,
    authors: new Map([
      ['a', contributions(30, 1)],
      ['me', contributions(40)],
    ]),
    proofs: [log.excluded().get('b')],
    digest: log.digest(),
  })
  assert.deepEqual(encodeRunLog({ manifest, log }), file)
})

test('every flipped bit, every cut and every addition is found', async () => {
  const file = encodeRunLog({ manifest, log: await someLog() })
  for (let bit = 0; bit < 8 * file.length; bit++) {
    const flipped = file.slice()
    flipped[bit >> 3]! ^= 1 << (bit & 7)
    await assert.rejects(decodeRunLog(flipped, { verify, clock }), bad)
  }
  for (let length = 0; length < file.length; length++) {
    await assert.rejects(decodeRunLog(file.subarray(0, length), { verify, clock }), bad)
  }
  await assert.rejects(decodeRunLog(Uint8Array.of(...file, 0), { verify, clock }), bad)
})

test('a file that was put together anew is found out by its signatures', async () => {
  const file = encodeRunLog({ manifest, log: await someLog() })
  const hidden = file.subarray(0, -32)
  let accepted = 0
  // One bit of every byte, each in its turn.
  for (let bit = 0; bit < 8 * hidden.length; bit += 9) {
    const forged = hidden.slice()
    forged[bit >> 3]! ^= 1 << (bit & 7)
    await decodeRunLog(Uint8Array.of(...forged, ...sha256(forged)), { verify, clock }).then(
      () => accepted++,
      (error: unknown) => assert.ok(bad(error), String(error)),
    )
  }
  assert.equal(accepted, 0)
})
