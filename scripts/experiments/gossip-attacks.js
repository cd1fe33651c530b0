#!/usr/bin/env node
/**
 * What do one and two liars of six do to a swarm of real processes, and what does the rule do about it? Starts `starling swarm` once for each seed, strategy, attack
 * and number of liars, on a tiny decoder and the embedded stories, and reads its summary. Every swarm is a line of `--out`; swarms that it holds already are not
 * played again, so an interrupted experiment goes on where it was, and `--table` prints the tables of what there is without playing anything.
 *
 *   npm run build && node scripts/experiments/gossip-attacks.js --out FILE [--table] [--peers 6] [--steps 400] [--seeds 1,2,3]
 *     [--columns default,plain,noloco] [--liars 1,2] [--attacks none,sign-flip,...]
 *
 * Losses are validation losses, means over the honest peers and then over the seeds; in brackets how much more that is than without an attack, and from how many seeds
 * if not all. Liars are in league: all of them do the same, with the same dice.
 *
 * Six processes want six cores. On fewer the figures hold, but more fragments come late: nothing here is a time.
 */
import { execFile } from 'node:child_process'
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { root } from '../files.js'
import { markdown, mean } from './table.js'

const { values } = parseArgs({
  options: {
    peers: { type: 'string', default: '6' },
    steps: { type: 'string', default: '400' },
    seeds: { type: 'string', default: '1,2,3' },
    columns: { type: 'string', default: 'default,plain,noloco' },
    liars: { type: 'string', default: '1,2' },
    attacks: {
      type: 'string',
      default: 'none,sign-flip,inner-product:10,alie:1.5,noise,nan,huge-norm,stale-replay,rotation,free-rider',
    },
    out: { type: 'string' },
    table: { type: 'boolean', default: false },
  },
})
const peers = Number(values.peers)
const steps = Number(values.steps)
const seeds = values.seeds.split(',').map(Number)

/** The part `strategy` of the run, by the name of a column. */
const COLUMNS = {
  default: { name: 'gossip' },
  // No rule and no guards: what averages without looking.
  plain: { name: 'gossip', rule: 'mean', guards: false },
  mean: { name: 'gossip', rule: 'mean' },
  clipped: { name: 'gossip', rule: 'clipped' },
  fifth: { name: 'gossip', faulty: 0.2 },
  noloco: { name: 'noloco' },
}
const columns = values.columns.split(',')
const unknown = columns.find((column) => !Object.hasOwn(COLUMNS, column))
if (unknown !== undefined) {
  console.error(`columns: '${unknown}' is none of ${Object.keys(COLUMNS).join(', ')}`)
  process.exit(2)
}

/** Longest time of one swarm, ms. */
const PATIENCE = 600_000

/**
 * Least share of the fragments (or, of noloco, of the rounds' exchanges) that have to come in time. On a machine that is too busy the first peer is through before the others
 * have started, and then nothing was attacked: such a swarm does not count.
 */
const LEAST_HEARD = 0.3

/** One swarm to its end: its summary and what its peers told of. */
async function play({ column, attack, liars, seed }) {
  const folder = mkdtempSync(join(tmpdir(), 'starling-attacks-'))
  try {
    const run = {
      name: 'attacked',
      seed,
      model: { architecture: 'decoder', context: 32, layers: 2, width: 32, heads: 2, hidden: 80 },
      data: { source: 'stories', bytes: 400_000 },
      training: { batch: 8, steps, evaluateEvery: steps },
      strategy: COLUMNS[column],
    }
    writeFileSync(join(folder, 'run.yaml'), JSON.stringify(run))
    // Who diverges stays down: it would begin again.
    const args = ['swarm', 'run.yaml', '--peers', String(peers), '--local', '--port', '0', '--no-restart', '--json']
    for (let i = 0; i < liars; i++) args.push('--attack', attack)
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [join(root, 'bin/starling.js'), ...args, '--data-folder', join(folder, 'swarm')],
      { cwd: folder, maxBuffer: 1024 ** 3, timeout: PATIENCE },
    ).catch((error) => {
      // Where every peer has failed the summary is there all the same.
      if (error.stdout?.includes('"peers":[')) return error
      throw error
    })
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    return figures(COLUMNS[column].name, lines.at(-1), lines)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** What a table needs of a swarm. Bytes are those of a whole peer, connections and all, per step of its own. */
function figures(strategy, summary, lines) {
  const proven = summary.peers.some(({ attack }) => attack === 'nan')
  const honest = summary.peers.filter((peer) => peer.attack === undefined)
  const isLiar = new Set(summary.peers.flatMap(({ attack, peer }) => (attack === undefined ? [] : [peer])))
  /** Fragments (gossip) or exchanges (noloco) of liars and of the honest that had no say, and those that had. Of noloco, the shares of exchanges. */
  const out = { liar: 0, honest: 0, ofHonest: 0 }
  const shares = { liar: [], honest: [] }
  for (const line of lines) {
    if (isLiar.has(line.peer)) continue
    if (line.kind === 'mixed') {
      for (const { peer, times } of line.leftOut) out[isLiar.has(peer) ? 'liar' : 'honest'] += times
      out.ofHonest += line.fragments
    } else if (line.kind === 'exchange') {
      shares[isLiar.has(line.partner) ? 'liar' : 'honest'].push(line.share ?? 1)
    } else if (line.kind === 'exchange-skipped' && ['bad-tensor', 'too-far'].includes(line.reason)) {
      shares[isLiar.has(line.partner) ? 'liar' : 'honest'].push(0)
    }
  }
  const fragments = out.liar + out.honest + out.ofHonest
  const rounds = honest.reduce((sum, { round }) => sum + round, 0)
  const exchanges = shares.liar.length + shares.honest.length
  return {
    losses: honest.map((peer) => peer.validationLoss),
    // Who is caught sending what is no number is not heard any more.
    heard: strategy === 'gossip' ? fragments / (rounds * ((proven ? honest.length : peers) - 1)) : exchanges / rounds,
    // A peer that failed has diverged.
    loss: honest.some(({ state, validationLoss }) => state !== 'finished' || validationLoss === null)
      ? null
      : mean(honest.map((peer) => peer.validationLoss)),
    failures: honest.flatMap(({ failure }) => failure ?? []).slice(0, 1),
    merged: summary.merged?.validationLoss ?? null,
    bytesPerStep: mean(honest.map((peer) => peer.bytesSent / Math.max(1, peer.step))),
    turns: mean(honest.map((peer) => peer.round)),
    leftOut: { liar: out.liar, honest: out.honest, mixed: out.ofHonest },
    shares: { liar: mean(shares.liar), honest: mean(shares.honest) },
    seconds: summary.seconds,
  }
}

/** All swarms, seed by seed, so that what is there at any time is whole. */
const wanted = seeds.flatMap((seed) =>
  values.attacks
    .split(',')
    .flatMap((attack) =>
      (attack === 'none' ? [0] : values.liars.split(',').map(Number)).flatMap((liars) =>
        columns.map((column) => ({ seed, attack, liars, column, peers, steps })),
      ),
    ),
)
const keyOf = ({ seed, attack, liars, column, peers, steps }) =>
  JSON.stringify([seed, attack, liars, column, peers, steps])
const found = new Map()
if (values.out !== undefined && existsSync(values.out)) {
  for (const line of readFileSync(values.out, 'utf8').trimEnd().split('\n')) {
    const result = JSON.parse(line)
    found.set(keyOf(result), result)
  }
}
for (const cell of values.table ? [] : wanted) {
  if (found.has(keyOf(cell))) continue
  let result
  try {
    result = { ...cell, ...(await play(cell)) }
    // Who has diverged hears nobody.
    if (result.loss !== null && result.heard < LEAST_HEARD) {
      throw new Error(`only ${Math.round(100 * result.heard)} % came in time: this machine is too busy`)
    }
  } catch (error) {
    // Not kept: it is played again the next time.
    console.error(JSON.stringify({ ...cell, failed: String(error.message ?? error).slice(0, 500) }))
    continue
  }
  found.set(keyOf(result), result)
  console.error(JSON.stringify(result))
  if (values.out !== undefined) appendFileSync(values.out, `${JSON.stringify(result)}\n`)
}

/** All seeds of a row and column. */
const results = (attack, liars, column) =>
  seeds.flatMap((seed) => found.get(keyOf({ seed, attack, liars, column, peers, steps })) ?? [])

function lossOf(all, base) {
  if (all.length === 0) return '–'
  const diverged = all.filter(({ loss }) => loss === null).length
  const part = all.length === seeds.length ? '' : `; ${all.length} of ${seeds.length} seeds`
  if (diverged > 0) return `diverged${diverged < all.length ? ` (${diverged} of ${all.length})` : ''}${part}`
  const losses = all.map(({ loss }) => loss)
  const text = mean(losses).toFixed(losses.some((loss) => loss >= 10) ? 1 : 3)
  const spread = losses.length > 1 ? ` ± ${((Math.max(...losses) - Math.min(...losses)) / 2).toFixed(3)}` : ''
  // Against the same seeds in peace.
  const peace = base.filter(({ seed, loss }) => loss !== null && all.some((each) => each.seed === seed))
  const more = peace.length === all.length ? mean(losses) / mean(peace.map(({ loss }) => loss)) - 1 : undefined
  const relative =
    more === undefined ? '' : ` (${more < 0 ? '−' : '+'}${Math.abs(100 * more).toFixed(more < 1 ? 1 : 0)} %)`
  return `${text}${spread}${all[0].attack === 'none' ? '' : relative}${part}`
}

const rows = []
for (const attack of values.attacks.split(',')) {
  for (const liars of attack === 'none' ? [0] : values.liars.split(',').map(Number)) {
    rows.push([
      attack,
      String(liars),
      ...columns.map((column) => lossOf(results(attack, liars, column), results('none', 0, column))),
    ])
  }
}
console.log(`\nLoss; ${peers} peers, ${steps} steps, seeds ${seeds.join(', ')}; ± half the range over the seeds\n`)
console.log(markdown(['attack', 'liars', ...columns], rows))

const weights = rows.map(([attack, liars]) => [
  attack,
  liars,
  ...columns.map((column) => {
    const all = results(attack, Number(liars), column)
    if (all.length === 0) return '–'
    if (COLUMNS[column].name === 'noloco')
      return `${mean(all.map(({ shares }) => shares.liar ?? Number.NaN)).toFixed(2)}, ${mean(all.map(({ shares }) => shares.honest)).toFixed(2)}`
    const sum = (key) => all.reduce((total, { leftOut }) => total + leftOut[key], 0)
    return `${sum('liar')}, ${sum('honest')} of ${sum('liar') + sum('honest') + sum('mixed')}`
  }),
])
console.log(
  '\nGossip: how often honest receivers left out liars, and each other, of all fragments. NoLoCo: mean share of liars, and of each other.\n',
)
console.log(markdown(['attack', 'liars', ...columns], weights))

console.log('\nBytes, without an attack\n')
console.log(
  markdown(
    ['strategy', 'bytes sent per peer and step', 'turns or rounds', 'loss', 'loss of the merged model'],
    columns.flatMap((column) => {
      const all = results('none', 0, column)
      if (all.length === 0) return []
      const of = (key) => mean(all.map((each) => each[key]))
      return [
        [
          column,
          Math.round(of('bytesPerStep')).toLocaleString('en'),
          of('turns').toFixed(0),
          of('loss').toFixed(3),
        ].concat(of('merged').toFixed(3)),
      ]
    }),
  ),
)
