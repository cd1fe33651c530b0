#!/usr/bin/env node
/**
 * Does it help to train together? Runs `starling swarm` twice with the same seed and the same number of local steps at each peer:
 * several peers with NoLoCo, and one peer alone. Alone means alpha 0 and beta 1, for which the outer step changes nothing and
 * what is left is plain AdamW. Prints one JSON object: losses, bytes, and the correlation of the replicas' disagreement with the
 * learning rate after warm-up (core claim of arXiv 2506.10911, section on replica variance).
 *
 *   node scripts/experiments/noloco-against-alone.js [--peers 4] [--steps 2000] [--seed 0] [--inner 20]
 */
import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const program = fileURLToPath(new URL('../../bin/starling.js', import.meta.url))

const { values } = parseArgs({
  options: {
    peers: { type: 'string', default: '4' },
    steps: { type: 'string', default: '2000' },
    seed: { type: 'string', default: '0' },
    inner: { type: 'string', default: '20' },
  },
})
const steps = Number(values.steps)

/** Runs a swarm to its end and returns every line of its JSON. */
async function run(folder, peers, strategy) {
  const file = join(folder, `${peers}.yaml`)
  await writeFile(
    file,
    `version: 1\nname: stories\nseed: ${values.seed}\nmodel: { preset: gpt-nano }\ndata: { source: stories, seed: 1 }\n` +
      `training: { steps: ${steps} }\nstrategy: ${JSON.stringify({ name: 'noloco', innerSteps: Number(values.inner), ...strategy })}\n`,
  )
  const options = ['swarm', file, '--peers', String(peers), '--local', '--port', '0', '--json']
  const child = spawn(process.execPath, [program, ...options, '--data-folder', join(folder, `swarm-${peers}`)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines = []
  const ended = new Promise((resolve, reject) => child.once('error', reject).once('exit', resolve))
  for await (const line of createInterface({ input: child.stdout })) {
    const event = JSON.parse(line)
    lines.push(event)
    if (event.kind === 'evaluation') console.error(`${event.name ?? ''} step ${event.step}: ${event.loss.toFixed(4)}`)
  }
  const code = await ended
  if (code !== 0) throw new Error(`starling ${options.join(' ')} ended with code ${code}`)
  return lines
}

/** Pearson's correlation of two equally long lists. */
function correlation(xs, ys) {
  const mean = (list) => list.reduce((sum, value) => sum + value, 0) / list.length
  const [mx, my] = [mean(xs), mean(ys)]
  let [xy, xx, yy] = [0, 0, 0]
  for (const [i, x] of xs.entries()) {
    xy += (x - mx) * (ys[i] - my)
    xx += (x - mx) ** 2
    yy += (ys[i] - my) ** 2
  }
  return xy / Math.sqrt(xx * yy)
}

const summaryOf = (lines) => lines.find(({ kind }) => kind === 'summary')

/** Disagreement at each exchange, with the learning rate that its peer had last. */
function disagreements(lines) {
  const rates = new Map()
  const points = []
  for (const event of lines) {
    if (event.kind === 'step') rates.set(event.peer, event)
    const last = rates.get(event.peer)
    if (event.kind === 'exchange' && last !== undefined)
      points.push({ step: last.step, rate: last.learningRate, disagreement: event.disagreement })
  }
  return points
}

const folder = await mkdtemp(join(tmpdir(), 'starling-experiment-'))
try {
  const together = await run(folder, Number(values.peers), {})
  const alone = await run(folder, 1, { alpha: 0, beta: 1 })
  const sum = summaryOf(together)
  const points = disagreements(together)
  const settled = points.filter(({ step }) => step > steps / 10)
  const skipped = together.filter(({ kind }) => kind === 'exchange-skipped')
  const last = points.filter(({ step }) => step > 0.95 * steps).map(({ disagreement }) => disagreement)
  console.log(
    JSON.stringify({
      peers: Number(values.peers),
      steps,
      innerSteps: Number(values.inner),
      seed: Number(values.seed),
      seconds: sum.seconds,
      together: { replicas: sum.peers.map(({ validationLoss }) => validationLoss), merged: sum.merged?.validationLoss },
      alone: summaryOf(alone).peers[0].validationLoss,
      aloneSeconds: summaryOf(alone).seconds,
      bytesSentPerPeerAndStep:
        sum.peers.reduce((total, { bytesSent }) => total + bytesSent, 0) / sum.peers.length / steps,
      exchanges: points.length,
      skipped: Object.fromEntries(
        [...new Set(skipped.map(({ reason }) => reason))].map((reason) => [
          reason,
          skipped.filter((event) => event.reason === reason).length,
        ]),
      ),
      disagreement: {
        largest: Math.max(...points.map(({ disagreement }) => disagreement)),
        end: last.reduce((total, value) => total + value, 0) / last.length,
        correlationWithLearningRate: correlation(
          settled.map(({ rate }) => rate),
          settled.map(({ disagreement }) => disagreement),
        ),
      },
    }),
  )
} finally {
  await rm(folder, { recursive: true, force: true })
}
