#!/usr/bin/env node
/**
 * What does one liar of six do to a swarm of real processes, and what does the rule do about it? Starts `starling swarm` once for each rule and attack, on
 * a tiny decoder and the embedded stories, and reads its summary. Prints a Markdown table of the validation loss, mean of the honest peers, and how often honest
 * receivers left out the liar and each other; and bytes per peer and step against noloco. `--out` keeps all figures as JSON.
 *
 *   npm run build && node scripts/experiments/gossip-attacks.js [--peers 6] [--steps 1500] [--rules nearest,mean] [--attacks none,sign-flip,...]
 *     [--strategies gossip,noloco] [--out FILE]
 *
 * Six processes want six cores. On fewer the figures hold, but take longer: nothing here is a time.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { root } from '../files.js'
import { markdown, mean } from './table.js'

const { values } = parseArgs({
  options: {
    peers: { type: 'string', default: '6' },
    steps: { type: 'string', default: '1500' },
    rules: { type: 'string', default: 'nearest,mean' },
    attacks: {
      type: 'string',
      default: 'none,sign-flip,inner-product:10,alie:1.5,noise,nan,huge-norm,stale-replay,rotation,free-rider',
    },
    strategies: { type: 'string', default: 'gossip,noloco' },
    out: { type: 'string' },
  },
})
const peers = Number(values.peers)
const steps = Number(values.steps)

/** Longest time of one swarm, ms. */
const PATIENCE = 600_000

/** One swarm to its end: its summary and what its peers told of. */
async function play(strategy, attack) {
  const folder = mkdtempSync(join(tmpdir(), 'starling-attacks-'))
  try {
    const run = {
      name: 'attacked',
      model: { architecture: 'decoder', context: 32, layers: 2, width: 32, heads: 2, hidden: 80 },
      data: { source: 'stories', bytes: 400_000 },
      training: { batch: 8, steps, evaluateEvery: Math.ceil(steps / 4) },
      strategy,
    }
    writeFileSync(join(folder, 'run.yaml'), JSON.stringify(run))
    const args = ['swarm', 'run.yaml', '--peers', String(peers), '--local', '--port', '0', '--json']
    if (attack !== 'none') args.push('--attack', attack)
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [join(root, 'bin/starling.js'), ...args, '--data-folder', join(folder, 'swarm')],
      { cwd: folder, maxBuffer: 1024 ** 3, timeout: PATIENCE },
    )
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    return figures(lines.at(-1), lines)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** What a table needs of a swarm. Bytes are those of a whole peer, connections and all, per step of its own. */
function figures(summary, lines) {
  const honest = summary.peers.filter((peer) => peer.attack === undefined)
  const liar = summary.peers.find((peer) => peer.attack !== undefined)?.peer
  const out = { liar: 0, honest: 0, heard: 0 }
  for (const line of lines) {
    if (line.kind !== 'mixed' || line.peer === liar) continue
    out.heard += line.fragments
    for (const { peer, times } of line.leftOut) {
      out[peer === liar ? 'liar' : 'honest'] += times
      out.heard += times
    }
  }
  return {
    losses: honest.map((peer) => peer.validationLoss),
    loss: mean(honest.map((peer) => peer.validationLoss ?? Number.NaN)),
    merged: summary.merged?.validationLoss,
    disagreement: summary.merged?.disagreement,
    bytesPerStep: mean(honest.map((peer) => peer.bytesSent / peer.step)),
    turns: mean(honest.map((peer) => peer.round)),
    leftOut: out,
    seconds: summary.seconds,
  }
}

const results = []
const keep = (result) => {
  results.push(result)
  console.error(JSON.stringify(result))
  if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(results, null, 2)}\n`)
  return result
}

const number = (value, digits = 3) => (value === null || Number.isNaN(value) ? '–' : value.toFixed(digits))

for (const name of values.strategies.split(',')) {
  const rules = name === 'gossip' ? values.rules.split(',') : [undefined]
  const rows = []
  for (const attack of values.attacks.split(',')) {
    const row = [attack]
    for (const rule of rules) {
      const strategy = { name, ...(rule === undefined ? {} : { rule }) }
      try {
        const found = keep({ name, rule, attack, ...(await play(strategy, attack)) })
        const { liar, honest, heard } = found.leftOut
        row.push(number(found.loss), name === 'gossip' ? `${liar}, ${honest} of ${heard}` : '')
      } catch (error) {
        keep({ name, rule, attack, failed: String(error.message ?? error).slice(0, 500) })
        row.push('failed', '')
      }
    }
    rows.push(row)
  }
  console.log(`\n${name}, ${peers} peers, ${steps} steps\n`)
  console.log(
    markdown(
      [
        'attack',
        ...rules.flatMap((rule) => [`loss${rule === undefined ? '' : `, ${rule}`}`, 'left out: liar, honest']),
      ],
      rows,
    ),
  )
}
const peaceful = results.filter(({ attack, failed }) => attack === 'none' && failed === undefined)
console.log(`\nBytes\n`)
console.log(
  markdown(
    ['strategy', 'bytes sent per peer and step', 'turns or rounds', 'loss', 'loss of the merged model'],
    peaceful.map(({ name, rule, bytesPerStep, turns, loss, merged }) => [
      rule === undefined ? name : `${name}, ${rule}`,
      Math.round(bytesPerStep).toLocaleString('en'),
      number(turns, 0),
      number(loss),
      number(merged ?? Number.NaN),
    ]),
  ),
)
