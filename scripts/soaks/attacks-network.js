#!/usr/bin/env node
/**
 * Four honest peers train (noloco) on loopback while a process of its own attacks the network of one of them, or of more. Times without and with the attack are taken in turns, and each
 * attack is compared with the times before and after it, so that whatever else the machine does meets both alike. Exits with 1 when a peer died, when one grew by more than
 * `MAX_GROWTH`, or when a round of all four took more than a fifth longer (by the clock; with `--judge cpu`, for machines that do other things meanwhile, when a step cost a fifth
 * more processor time), in the middle one of the repetitions.
 *
 *     npm run build && node scripts/soaks/attacks-network.js [--attack subscriptions|connections|slow-loris|oversized|identities|nobody] [--targets 1]
 *                          [--seconds 60] [--repetitions 3] [--judge wall|cpu] [--out FILE]
 *
 * The attacker comes from the address of those whom it attacks, the worst case, and its work is bounded by its own rates (see `attacker.js`). It has the last core for itself and the peers
 * the others (Linux), since no attacker from outside takes the cores of his victims. Two cores of one machine are not quite independent: while nobody attacks, a
 * process computes on the last core. `--attack nobody` compares that with itself: how far apart two measurements are.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { buildRun } from '../../dist/daemon/run/index.js'
import { parseLink } from '../../dist/protocols/index.js'
import { createStage } from '../../dist/tests/support/peers.js'

const PEERS = 4
const KINDS = ['subscriptions', 'connections', 'slow-loris', 'oversized', 'identities']
const CONTROL = 'nobody'

const { values } = parseArgs({
  options: {
    attack: { type: 'string', multiple: true, default: KINDS },
    targets: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '60' },
    repetitions: { type: 'string', default: '3' },
    judge: { type: 'string', default: 'wall' },
    out: { type: 'string' },
  },
})
const [seconds, repetitions, targets] = [values.seconds, values.repetitions, values.targets].map(Number)
for (const kind of values.attack) {
  if (![...KINDS, CONTROL].includes(kind))
    throw new Error(`--attack ${kind} is none of ${KINDS.join(', ')}, ${CONTROL}`)
}
if (!(targets >= 1 && targets <= PEERS)) throw new Error(`--targets ${values.targets} is no number from 1 to ${PEERS}`)
if (!['wall', 'cpu'].includes(values.judge)) throw new Error(`--judge ${values.judge} is neither wall nor cpu`)

/** A peer may grow by this while it is attacked, bytes: what the limits allow one address to make it hold, and what a process grows by in a while. */
const MAX_GROWTH = 96 * 1024 * 1024
/** A round, or a step's processor time, may be so much longer. */
const MAX_SLOWER = 1.2
/** After an attack began or ended, until times are taken, ms. */
const SETTLE = 3_000
/** Rounds until the peers are as quick as they become: compiled, connected, joined. */
const WARM = 6
/** Longest wait for the peers to train, ms. */
const PATIENCE = 180_000
/** Ticks of a processor's time per second in /proc. */
const TICKS = 100

// A round of a second or two, most of it computing: of a smaller model most is waiting for messages, and whatever runs beside it moves that by a fifth.
const INNER_STEPS = 20
const run = buildRun({
  name: 'attacked',
  model: { architecture: 'decoder', context: 64, layers: 2, width: 64, heads: 4, hidden: 172 },
  data: { source: 'stories', bytes: 60_000 },
  training: { batch: 8, steps: 10_000_000, evaluateEvery: 1_000_000 },
  strategy: { name: 'noloco', innerSteps: INNER_STEPS },
})

const CORES = availableParallelism()
/** Whether peers and attacker have cores of their own. */
const pinned = process.platform === 'linux' && CORES > 1
// What is started from here on inherits it.
if (pinned) execFileSync('taskset', ['--all-tasks', '--cpu-list', '--pid', `0-${CORES - 2}`, `${process.pid}`])

// As users run them: at debug each refusal is a line in the log, which costs more than the refusal.
const LEVEL = 'info'
const peers = []
const died = []

/** The middle one; of an even number the higher of the two. */
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1]

/** Seconds of processor time that a process has used. */
async function cpuOf(pid) {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS
}

/** How far each peer is, and what it used. */
function look() {
  return Promise.all(
    peers.map(async (peer) => {
      const { step, round, memory, connections } = await peer.status()
      return { time: performance.now(), step, round, rss: memory.rss, connections, cpu: await cpuOf(peer.process.pid) }
    }),
  )
}

/** Watches the peers for a while: medians over them. */
async function watch(milliseconds) {
  const before = await look()
  let rss = 0
  let connections = 0
  for (const end = performance.now() + milliseconds; performance.now() < end; await sleep(1_000)) {
    for (const now of await look()) {
      rss = Math.max(rss, now.rss)
      connections = Math.max(connections, now.connections)
    }
  }
  const after = await look()
  const per = (what, of) => median(after.map((now, i) => (now[what] - before[i][what]) / (now[of] - before[i][of])))
  const sum = (what) => after.reduce((all, now, i) => all + now[what] - before[i][what], 0)
  const elapsed = (after[0].time - before[0].time) / 1_000
  return {
    cores: sum('cpu') / elapsed,
    // By steps, of which a phase has enough to count: the exchange at the end of each round is in their time.
    secondsPerRound: (per('time', 'step') * INNER_STEPS) / 1_000,
    cpuPerStep: (sum('cpu') / sum('step')) * 1_000,
    rounds: Math.min(...after.map(({ round }, i) => round - before[i].round)),
    rss: Math.max(rss, ...after.map((now) => now.rss)),
    connections,
  }
}

/** Attacks, once it resolves, until the returned function is called, which resolves to what was done and the cores that it took. */
async function begin(kind) {
  const attacked = peers.slice(0, targets).map(({ link }) => parseLink(link).peers[0])
  const file = fileURLToPath(new URL('./attacker.js', import.meta.url))
  const stdio = ['ignore', 'pipe', 'inherit']
  const command = [...(pinned ? ['taskset', '--cpu-list', `${CORES - 1}`] : []), process.execPath, file]
  const child = spawn(command[0], [...command.slice(1), kind, run.id, ...attacked], { stdio })
  let said = ''
  child.stdout.on('data', (data) => {
    said = `${said}${data}`.split('\n').slice(-2).join('\n')
  })
  const exited = once(child, 'exit')
  // What follows the last end of a line is not whole yet.
  const done = () => JSON.parse(said.split('\n').at(-2) || '{}')
  const began = () => (kind === CONTROL ? said !== '' : done().connections > 0)
  for (const end = performance.now() + PATIENCE; !began(); await sleep(200)) {
    if (child.exitCode === null && performance.now() < end) continue
    child.kill('SIGKILL')
    throw new Error(`the attack '${kind}' did not begin: ${said}`)
  }
  const since = { time: performance.now(), cpu: await cpuOf(child.pid) }
  return async () => {
    const cores = ((await cpuOf(child.pid)) - since.cpu) / ((performance.now() - since.time) / 1_000)
    child.kill('SIGKILL')
    await exited
    return { cores, ...done() }
  }
}

/** The reasons for which all peers together refused something since their start. */
async function refusals() {
  const sum = {}
  for (const { refused = {} } of await Promise.all(peers.map((peer) => peer.status()))) {
    for (const [reason, count] of Object.entries(refused)) sum[reason] = (sum[reason] ?? 0) + count
  }
  return sum
}

/** Fresh peers: what an attack did to the standing of the address must not make the next one milder. */
async function startPeers(stage, stopping) {
  peers.length = 0
  for (let at = 0; at < PEERS; at++) {
    const how = at === 0 ? { manifest: run.bytes } : { link: peers[0].link }
    const peer = await stage.start(`peer-${at}`, how)
    peer.process.once('exit', (code, signal) => {
      if (!stopping.aborted) died.push(`peer-${at}: ${code ?? signal}`)
    })
    peers.push(peer)
  }
  for (const end = performance.now() + PATIENCE; ; await sleep(500)) {
    const now = await look()
    if (now.every(({ round }) => round >= WARM)) return
    if (performance.now() > end) throw new Error(`not training after ${PATIENCE} ms`)
  }
}

async function check(kind) {
  const before = await refusals()
  const beside = async (what) => {
    const end = await begin(what)
    await sleep(SETTLE)
    const phase = await watch((seconds * 1_000) / repetitions)
    return { ...phase, attacker: await end() }
  }
  const phases = { quiet: [await beside(CONTROL)], attack: [] }
  for (let at = 0; at < repetitions && died.length === 0; at++) {
    phases.attack.push(await beside(kind))
    phases.quiet.push(await beside(CONTROL))
  }
  const after = await refusals()
  const refused = Object.fromEntries(
    Object.entries(after).flatMap(([reason, count]) =>
      count > (before[reason] ?? 0) ? [[reason, count - (before[reason] ?? 0)]] : [],
    ),
  )
  const of = (name, what) => median(phases[name].map((phase) => phase[what]))
  /** Each attack, of what was before and after it. */
  const ratios = (what) =>
    phases.attack.map((phase, i) => phase[what] / ((phases.quiet[i][what] + phases.quiet[i + 1][what]) / 2))
  const rss = (name) => Math.max(...phases[name].map((phase) => phase.rss))
  return {
    attack: kind,
    round: { quiet: of('quiet', 'secondsPerRound'), attack: of('attack', 'secondsPerRound') },
    cpuPerStep: { quiet: of('quiet', 'cpuPerStep'), attack: of('attack', 'cpuPerStep') },
    slower: median(ratios('secondsPerRound')),
    dearer: median(ratios('cpuPerStep')),
    each: { slower: ratios('secondsPerRound'), dearer: ratios('cpuPerStep') },
    cores: {
      quiet: of('quiet', 'cores'),
      attack: of('attack', 'cores'),
      attacker: median(phases.attack.map(({ attacker }) => attacker.cores)),
    },
    rss: { quiet: rss('quiet'), attack: rss('attack') },
    connections: Math.max(...phases.attack.map((phase) => phase.connections)),
    rounds: { quiet: phases.quiet.map((phase) => phase.rounds), attack: phases.attack.map((phase) => phase.rounds) },
    attacker: phases.attack.at(-1).attacker,
    refused,
  }
}

/** One attack on fresh peers, which end with it. */
async function attack(kind) {
  const stage = await createStage(LEVEL)
  const stopping = new AbortController()
  try {
    await startPeers(stage, stopping.signal)
    return await check(kind)
  } finally {
    stopping.abort()
    await stage.end(died.length > 0)
  }
}

const results = []
const faults = []
for (const kind of values.attack) {
  const result = await attack(kind)
  results.push(result)
  console.log(JSON.stringify(result))
  const growth = result.rss.attack - result.rss.quiet
  if (growth > MAX_GROWTH) faults.push(`${kind}: a peer grew by ${Math.round(growth / 2 ** 20)} MiB`)
  const worse = values.judge === 'cpu' ? result.dearer : result.slower
  if (!(worse <= MAX_SLOWER)) faults.push(`${kind}: ${((worse - 1) * 100).toFixed(0)} % slower`)
  if (died.length > 0) break
}
for (const death of died) faults.push(`died: ${death}`)
if (values.out !== undefined) await writeFile(values.out, `${JSON.stringify({ results, faults }, null, 2)}\n`)
for (const fault of faults) console.error(fault)
process.exitCode = faults.length > 0 ? 1 : 0
