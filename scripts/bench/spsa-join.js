#!/usr/bin/env node
/**
 * How soon is a peer in step that comes to a long run of the strategy `spsa`? Makes the signed log of a run, starts a daemon on it that has nothing but
 * that log (it replays), and then one that joins it with an empty folder (it fetches log and sums, and audits these). Prints one JSON object: seconds
 * from the start of the trainer to parameters of the whole set, for both, and the seconds each one planned with.
 *
 *   npm run build && node scripts/bench/spsa-join.js [--contributions 100000] [--authors 4] [--width 144]
 */
import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { loadOrCreateIdentity, peerNameOf, verifySignature } from '../../dist/daemon/network/identity.js'
import { buildRun } from '../../dist/daemon/run/index.js'
import { openDataFolder } from '../../dist/daemon/storage/index.js'
import { createLog, seededRandom } from '../../dist/protocols/index.js'
import { createStage, until } from '../../dist/tests/support/peers.js'

/** Longest wait for a daemon, ms. */
const PATIENCE = 600_000

const { values } = parseArgs({
  options: {
    contributions: { type: 'string', default: '100000' },
    authors: { type: 'string', default: '4' },
    width: { type: 'string', default: '144' },
  },
})
const [contributions, authors, width] = [values.contributions, values.authors, values.width].map(Number)
const steps = Math.ceil(contributions / authors)

const run = buildRun({
  name: 'a long run',
  model: { architecture: 'decoder', context: 64, layers: 4, width, heads: 4, hidden: Math.round(2.7 * width) },
  data: { source: 'stories', bytes: 60_000 },
  training: { batch: 4, steps, evaluateEvery: steps },
  strategy: { name: 'spsa' },
})

/** A log of which every author has made all its contributions, in the data folder of the first author. */
async function makeLog(folder) {
  await mkdir(folder, { recursive: true })
  const place = await openDataFolder(folder)
  const clock = { sleep: (milliseconds) => sleep(milliseconds) }
  const keys = [(await loadOrCreateIdentity(folder)).key]
  while (keys.length < authors) keys.push(await generateKeyPair('Ed25519'))
  const open = async (key, records) => {
    const options = { run: run.id, self: peerNameOf(key), steps, maxAuthors: authors }
    const sign = async (data) => key.sign(data)
    const log = createLog(options, { records, sign, verify: verifySignature, clock, report: () => {} })
    await log.open()
    return log
  }
  const log = await open(keys[0], place.records('strategy'))
  const random = seededRandom('spsa-join')
  for (const key of keys) {
    // Bytes 1 to 119, both signs: projected gradients up to 120 times the quantum.
    const bytes = Uint8Array.from({ length: steps }, () => (1 + random.integer(119)) | (random.integer(2) << 7))
    if (key === keys[0]) await log.append(bytes, 1)
    else {
      const stored = new Map()
      const other = await open(key, {
        get: async (name) => stored.get(name),
        put: async (name, value) => void stored.set(name, value),
        delete: async (name) => void stored.delete(name),
        keys: async (prefix, limit) => [...stored.keys()].filter((name) => name.startsWith(prefix)).slice(0, limit),
      })
      assert.deepEqual(await log.accept(await other.append(bytes, 1)), { added: steps })
    }
  }
  await log.flush()
  const { count } = log
  await place.close()
  return count
}

/** Waits until a daemon has the parameters of so many contributions; what it said on the way. */
async function inStep(node, count) {
  return until(
    `${count} contributions at ${node.name}`,
    async () => {
      const events = (await node.events()).filter(({ peer }) => peer === node.peer)
      const there = events.find((event) => event.kind === 'contributions' && event.contributions >= count)
      if (there === undefined) return undefined
      const started = events.find(({ kind }) => kind === 'started')
      const plan = events.findLast(({ kind }) => kind === 'plan')
      const donor = events.find(({ kind }) => kind === 'joined')?.donor
      return { seconds: (there.time - started.time) / 1_000, choice: plan?.choice, donor: donor !== undefined, plan }
    },
    PATIENCE,
  )
}

const stage = await createStage()
let failed = true
try {
  const count = await makeLog(join(stage.folder, 'replays'))
  const first = await stage.start('replays', { manifest: run.bytes })
  const replay = await inStep(first, count)
  const second = await stage.start('joins', { link: first.link })
  const joined = await inStep(second, count)
  console.log(JSON.stringify({ contributions: count, authors, parameters: run.layout.parameters, replay, joined }))
  failed = false
} finally {
  await stage.end(failed)
}
