#!/usr/bin/env node
/**
 * How many bytes does a peer send until its validation loss has come down to a target? Starts `starling swarm` once for each way to agree, on a tiny decoder and the embedded stories, asks
 * its page for the state of all peers four times a second, and stops it when each has reached the target. Bytes are those of a whole peer, from its start: connections, heartbeats, news,
 * copies that gossip makes, and replicas of those who began late.
 *
 * Beside them data-parallel training with a gradient exchanged in every step: one process takes the steps with a batch as large as those of all peers together, which gives the mean
 * gradient of all of them exactly; the bytes are those that float32 gradients need, sent by everybody to everybody, and around a ring (2 (n - 1) / n gradients a step), with nothing added.
 *
 *   npm run build && node scripts/experiments/bytes-at-equal-loss.js [--peers 6] [--target 1.8] [--steps 3000] [--ways noloco,gossip,...] [--out FILE]
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { root } from '../files.js'
import { markdown, mean } from './table.js'

/** The strategies of a manifest, by the name of a row. */
const WAYS = {
  noloco: { name: 'noloco' },
  gossip: { name: 'gossip' },
  'gossip, mean': { name: 'gossip', rule: 'mean' },
  'gossip, int4 replicas': { name: 'gossip', codec: 'int4' },
  'gossip, sign replicas': { name: 'gossip', codec: 'sign', interval: 2 },
  'gossip, topk replicas': { name: 'gossip', codec: 'topk', interval: 1 },
}

const { values } = parseArgs({
  options: {
    peers: { type: 'string', default: '6' },
    target: { type: 'string', default: '1.8' },
    steps: { type: 'string', default: '3000' },
    ways: { type: 'string', multiple: true },
    out: { type: 'string' },
  },
})
const peers = Number(values.peers)
const target = Number(values.target)
const steps = Number(values.steps)

/** Rows of a peer's batch, steps between two evaluations, and between two looks at the peers, ms. */
const BATCH = 8
const EVALUATE_EVERY = 20
const LOOK_EVERY = 250

/** The model: a decoder whose output matrix is not its embedding. */
const MODEL = { architecture: 'decoder', context: 32, layers: 2, width: 32, heads: 2, hidden: 80 }
const { layers, width, hidden } = MODEL
const PARAMETERS = 2 * 256 * width + layers * (4 * width ** 2 + 3 * width * hidden + 2 * width) + width

/** One swarm until all of its peers have reached the target: for each its steps and bytes when it had. */
async function play(strategy, count, batch) {
  const folder = mkdtempSync(join(tmpdir(), 'starling-bytes-'))
  const run = {
    name: 'bytes',
    model: MODEL,
    data: { source: 'stories', bytes: 400_000 },
    training: { batch, steps, evaluateEvery: EVALUATE_EVERY },
    strategy,
  }
  writeFileSync(join(folder, 'run.yaml'), JSON.stringify(run))
  const args = ['swarm', 'run.yaml', '--peers', String(count), '--local', '--port', '0', '--json']
  const child = spawn(
    process.execPath,
    [join(root, 'bin/starling.js'), ...args, '--data-folder', join(folder, 'swarm')],
    { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] },
  )
  let done = false
  const exited = new Promise((resolve, reject) => child.once('error', reject).once('exit', resolve)).finally(() => {
    done = true
  })
  const found = new Map()
  let looking = Promise.resolve()
  for await (const line of createInterface({ input: child.stdout })) {
    const event = JSON.parse(line)
    if (event.kind === 'ready') looking = look(event.page)
  }
  await exited
  await looking
  rmSync(folder, { recursive: true, force: true })
  return [...found.values()]

  async function look(page) {
    while (!done && found.size < count) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY))
      const answer = await fetch(new URL('/api/peers', page)).catch(() => undefined)
      for (const { peer, validationLoss, step, bytesSent } of (await answer?.json().catch(() => undefined)) ?? []) {
        if (!found.has(peer) && typeof validationLoss === 'number' && validationLoss <= target) {
          found.set(peer, { step, bytes: bytesSent, loss: validationLoss })
        }
      }
    }
    child.kill('SIGINT')
  }
}

const rows = []
const results = []
const number = (value) => Math.round(value).toLocaleString('en')
const keep = (name, { step, bytes, of }) => {
  results.push({ name, step, bytes, of })
  console.error(JSON.stringify(results.at(-1)))
  if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify({ peers, target, results }, null, 2)}\n`)
  rows.push([name, number(step), number(bytes / step), `${(bytes / 1e6).toFixed(2)} MB`])
}

const ways = values.ways ?? [...Object.keys(WAYS), 'full gradients']
for (const way of ways.filter((name) => name in WAYS)) {
  const reached = await play(WAYS[way], peers, BATCH)
  if (reached.length < peers) console.error(`${way}: ${reached.length} of ${peers} peers reached ${target}`)
  if (reached.length === 0) continue
  keep(way, {
    step: mean(reached.map(({ step }) => step)),
    bytes: mean(reached.map(({ bytes }) => bytes)),
    of: reached,
  })
}
if (ways.includes('full gradients')) {
  const reached = await play({ name: 'noloco' }, 1, BATCH * peers)
  if (reached.length === 1) {
    const [{ step }] = reached
    const gradient = 4 * PARAMETERS
    keep('full gradients, everybody to everybody', { step, bytes: step * (peers - 1) * gradient })
    keep('full gradients, ring', { step, bytes: (step * 2 * (peers - 1) * gradient) / peers })
  }
}
console.log(`\nUntil a validation loss of ${target}, ${peers} peers\n`)
console.log(markdown(['way', 'steps', 'bytes sent per peer and step', 'bytes sent per peer'], rows))
