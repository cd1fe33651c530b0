#!/usr/bin/env node
/**
 * The use of `spsa`, with real daemons: a swarm learns the stories with `noloco`, then peers adapt the result to the same stories in another spelling,
 * sending a byte per gradient. Says the loss before and after, what travelled, whether all peers hold the same parameters, and whether
 * `starling replay` finds the same ones from the log alone. Prints one JSON object.
 *
 *   node scripts/experiments/spsa-adapt.js [--peers 4] [--pretrain 300] [--steps 400] [--model '{preset: gpt-nano}']
 *     [--strategy '{name: spsa}'] [--from FOLDER] [--keep FOLDER]
 *
 * --from starts from an earlier experiment's model instead of training one; --keep leaves everything in a folder.
 */
import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { describeFiles } from '../../dist/daemon/run/index.js'
import { generateStories } from '../../dist/models/index.js'
import { relabelled } from './spsa-toy.js'

const program = fileURLToPath(new URL('../../bin/starling.js', import.meta.url))

const { values } = parseArgs({
  options: {
    peers: { type: 'string', default: '4' },
    pretrain: { type: 'string', default: '300' },
    steps: { type: 'string', default: '400' },
    seed: { type: 'string', default: '0' },
    model: { type: 'string', default: '{ preset: gpt-nano }' },
    strategy: { type: 'string', default: '{ name: spsa }' },
    from: { type: 'string' },
    keep: { type: 'string' },
  },
})

/** Runs `starling` with --json to its end; returns its lines, the last one being the summary. */
async function starling(...words) {
  const child = spawn(process.execPath, [program, ...words, '--json'], { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines = []
  const ended = new Promise((done, failed) => child.once('error', failed).once('exit', done))
  for await (const line of createInterface({ input: child.stdout })) {
    const event = JSON.parse(line)
    lines.push(event)
    if (event.kind === 'evaluation') console.error(`${event.name ?? ''} step ${event.step}: ${event.loss.toFixed(4)}`)
  }
  const code = await ended
  if (code !== 0) throw new Error(`starling ${words.join(' ')} ended with code ${code}`)
  return lines
}

/** A swarm of a run.yaml in a folder of its own. */
async function swarm(folder, sections, ...words) {
  const file = `${folder}.yaml`
  await writeFile(file, `version: 1\nname: adapt\nseed: ${values.seed}\nmodel: ${values.model}\n${sections}\n`)
  const common = ['--peers', values.peers, '--local', '--port', '0', '--data-folder', folder]
  return (await starling('swarm', file, ...common, ...words)).at(-1)
}

const folder = values.keep === undefined ? await mkdtemp(join(tmpdir(), 'starling-experiment-')) : resolve(values.keep)
await mkdir(folder, { recursive: true })
try {
  const from = values.from ?? join(folder, 'taught')
  if (values.from === undefined) {
    const training = `data: { source: stories }\ntraining: { steps: ${values.pretrain} }\nstrategy: { name: noloco }`
    await swarm(from, training)
  }

  const shifted = join(folder, 'shifted.txt')
  await writeFile(shifted, relabelled(generateStories(1, 2_000_000)))
  const data = JSON.stringify(await describeFiles([shifted]))
  const [known, before] = [
    (await starling('evaluate', from)).at(-1).loss,
    (await starling('evaluate', from, '--data', shifted)).at(-1).loss,
  ]

  const adapted = join(folder, 'adapted')
  const training = `data: ${data}\ntraining: { steps: ${values.steps} }\nstrategy: ${values.strategy}`
  const summary = await swarm(adapted, training, '--from', from, '--data', shifted)
  const after = (await starling('evaluate', adapted)).at(-1).loss
  const replayed = (await starling('replay', adapted)).at(-1)

  const { peers, seconds, sameParameters } = summary
  const own = Number(values.steps)
  const sum = (of) => peers.reduce((total, peer) => total + of(peer), 0)
  console.log(
    JSON.stringify({
      peers: peers.length,
      pretrainSteps: Number(values.pretrain),
      steps: own,
      loss: { known, before, after },
      secondsOfAdapting: seconds,
      contributions: peers.map(({ set }) => set?.contributions),
      // Everything a peer sent while it ran, membership, signatures and copies for others included, per byte of its own.
      bytesSentPerGradient: sum(({ bytesSent }) => bytesSent) / (own * peers.length),
      sameParameters,
      sha256: [...new Set(peers.map(({ sha256 }) => sha256))],
      replay: {
        sha256: replayed.sha256,
        same: replayed.same,
        contributions: replayed.contributions,
        seconds: replayed.seconds,
      },
    }),
  )
  if (!sameParameters || replayed.sha256 !== peers[0].sha256) {
    console.error('the parameters are not the same everywhere')
    process.exitCode = 1
  }
} finally {
  if (values.keep === undefined) await rm(folder, { recursive: true, force: true })
}
