#!/usr/bin/env node
/**
 * Peers that come and go without end, by the rule of PCCL's stress test: every half to two seconds one of ten processes is started (60 %) or killed with
 * -9 (40 %), but never the last one alive. Those that come back go on in their own folders. At the end nobody is touched any more, and everyone alive must go on training; sums up stalls,
 * memory, loss and how the last state was loaded. Exits with 1 when a process ended by itself, when one that trains stood still for longer than `--stall`
 * seconds, when the largest process of the second half was a quarter larger than that of the first, when nothing was learned, or when somebody never exchanged anything.
 *
 *     npm run build && node scripts/soaks/churn.js [--minutes 15] [--peers 10] [--strategy gossip] [--seed 1] [--stall 60]
 *
 * Ten processes that start all the time want a machine of their own: on two busy cores most of the time goes into starting them.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { buildRun } from '../../dist/daemon/run/index.js'
import { formatLink, parseLink, seededRandom, shuffled } from '../../dist/protocols/index.js'
import { createStage } from '../../dist/tests/support/peers.js'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '15' },
    peers: { type: 'string', default: '10' },
    strategy: { type: 'string', default: 'gossip' },
    seed: { type: 'string', default: '1' },
    stall: { type: 'string', default: '60' },
  },
})
const [minutes, count, seed, stall] = [values.minutes, values.peers, values.seed, values.stall].map(Number)

/** Share of the events that start a process, and the pause between two of them, ms. */
const STARTS = 0.6
const PAUSE = { least: 500, most: 2_000 }

/** Addresses in the link of a newcomer. */
const HELPERS = 4

/** Time between two looks at everyone, and in peace at the end, ms. */
const LOOK = 2_000
const PEACE = 30_000

/** Longest wait for an answer of a process, ms. */
const ANSWER = 10_000

/** Loss of a model that knows nothing: 256 bytes, all alike. */
const UNTRAINED = Math.log(256)

/** Largest process of the second half, relative to that of the first. */
const GROWTH = 1.25

const random = seededRandom('churn', seed)
const run = buildRun({
  name: 'churn',
  model: { architecture: 'decoder', context: 16, layers: 1, width: 16, heads: 2, hidden: 32 },
  data: { source: 'stories', bytes: 60_000 },
  // It never ends by itself.
  training: { batch: 4, steps: 10_000_000, evaluateEvery: 1_000 },
  strategy: { name: values.strategy },
})

/** One of the ten: its process, if there is one, and what has been seen of it. */
const slots = Array.from({ length: count }, (_, i) => ({
  name: `peer-${i}`,
  state: 'down',
  node: undefined,
  seen: undefined,
}))
const totals = { starts: 0, kills: 0, failedStarts: [], diedAlone: [], silent: 0 }
const memory = [] // one entry per look
const stalls = [] // of more than ten seconds
const stage = await createStage()

const answered = (promise) => Promise.race([promise, sleep(ANSWER).then(() => undefined)])

async function start(slot) {
  slot.state = 'starting'
  totals.starts++
  const links = slots.flatMap(({ state, node }) => (state === 'up' ? [parseLink(node.link)] : []))
  try {
    // By several, since any of them may be killed before the newcomer has asked.
    const how =
      links.length === 0
        ? { manifest: run.bytes }
        : {
            link: formatLink({
              ...links[0],
              peers: shuffled(
                links.flatMap(({ peers }) => peers),
                random,
              ).slice(0, HELPERS),
            }),
          }
    slot.node = await stage.start(slot.name, { ...how, resume: true })
    slot.state = 'up'
    slot.seen = { step: 0, movedAt: performance.now(), rss: 0, loss: null, round: 0 }
    const { node } = slot
    node.process.once('exit', (code, signal) => {
      if (slot.node === node && slot.state === 'up') {
        slot.state = 'down'
        totals.diedAlone.push(`${slot.name}: ${code ?? signal}`)
      }
    })
  } catch (error) {
    slot.state = 'down'
    // Everyone whom it was to join may have been killed meanwhile.
    totals.failedStarts.push(String(error.message ?? error).slice(0, 120))
  }
}

async function kill(slot) {
  slot.state = 'down'
  totals.kills++
  await slot.node.kill()
}

/** Looks at everyone alive. */
async function look() {
  await Promise.all(
    slots
      .filter(({ state }) => state === 'up')
      .map(async (slot) => {
        const { node, seen } = slot
        const status = await answered(node.status().catch(() => undefined))
        if (slot.node !== node || slot.state !== 'up') return
        if (status === undefined) {
          totals.silent++
          return
        }
        const now = performance.now()
        if (status.step !== seen.step || status.phase !== 'training') {
          const still = (now - seen.movedAt) / 1_000
          if (still > 10) stalls.push({ name: slot.name, seconds: Math.round(still), phase: status.phase })
          seen.movedAt = now
        }
        Object.assign(seen, { step: status.step, rss: status.memory.rss, loss: status.loss, round: status.round })
      }),
  )
  const alive = slots.filter(({ state }) => state === 'up')
  memory.push({ alive: alive.length, largest: Math.max(0, ...alive.map(({ seen }) => seen.rss)) })
}

/** How the processes that are alive at the end came to their parameters. */
async function loads() {
  const found = await Promise.all(
    slots
      .filter(({ state }) => state === 'up')
      .map(async ({ name, node }) => {
        const events = (await answered(node.events().catch(() => []))) ?? []
        const own = events.filter(({ peer }) => peer === node.peer)
        const joined = own.findLast(({ kind }) => kind === 'joined')
        const resumed = own.findLast(({ kind }) => kind === 'resumed')
        if (joined?.donor !== undefined)
          return { name, from: 'a peer', step: joined.step, seconds: Math.round(joined.milliseconds / 100) / 10 }
        return { name, from: resumed === undefined ? 'the start' : 'its checkpoint', step: (resumed ?? joined)?.step }
      }),
  )
  return found
}

const MIB = 1024 ** 2
let failed = true
let looking = true
const looks = (async () => {
  while (looking) {
    await look()
    await sleep(LOOK)
  }
})()
try {
  // The others need somebody to join.
  await start(slots[0])
  const end = performance.now() + minutes * 60_000
  while (performance.now() < end) {
    const starts = random.uniform() < STARTS
    const eligible = slots.filter(({ state }) => state === (starts ? 'down' : 'up'))
    const slot = eligible[random.integer(Math.max(1, eligible.length))]
    // A start goes on in the background; the next one may be killed before it is there to help.
    // The last one alive is spared: two that start with nobody to join would be two swarms that never hear of each other.
    const last = !starts && slots.filter(({ state }) => state === 'up').length === 1
    if (slot !== undefined && !last) void (starts ? start(slot) : kill(slot))
    await sleep(PAUSE.least + random.integer(PAUSE.most - PAUSE.least))
  }
  while (slots.some(({ state }) => state === 'starting')) await sleep(200)
  const before = new Map(slots.map(({ name, seen }) => [name, seen?.step ?? 0]))
  await sleep(PEACE)
  looking = false
  await looks
  await look()
  const alive = slots.filter(({ state }) => state === 'up')
  const standing = alive.filter(({ name, seen }) => seen.step <= before.get(name)).map(({ name }) => name)
  const losses = alive.map(({ seen }) => seen.loss).filter((loss) => loss !== null)
  const longest = Math.max(0, ...stalls.map(({ seconds }) => seconds))
  const half = Math.floor(memory.length / 2)
  const most = (part) => Math.round(Math.max(0, ...part.map(({ largest }) => largest)) / MIB)
  const mebibytes = { firstHalf: most(memory.slice(0, half)), secondHalf: most(memory.slice(half)) }
  const summary = {
    strategy: values.strategy,
    minutes,
    starts: totals.starts,
    kills: totals.kills,
    failedStarts: totals.failedStarts.length,
    firstFailedStarts: totals.failedStarts.slice(0, 3),
    diedAlone: totals.diedAlone,
    unanswered: totals.silent,
    alive: alive.length,
    standing,
    stalls: stalls.length,
    longestStall: longest,
    mebibytes,
    steps: alive.map(({ seen }) => seen.step),
    turns: alive.map(({ seen }) => seen.round),
    losses: losses.map((loss) => Math.round(loss * 1_000) / 1_000),
    loads: await loads(),
  }
  console.log(JSON.stringify(summary, null, 2))
  const learned = losses.length > 0 && losses.every((loss) => loss < UNTRAINED - 1)
  // Who never exchanged anything has stayed at turn 0.
  const together = alive.filter(({ seen }) => seen.round > 0).length
  const grows = mebibytes.secondHalf > GROWTH * mebibytes.firstHalf
  failed =
    totals.diedAlone.length > 0 ||
    standing.length > 0 ||
    longest > stall ||
    grows ||
    !learned ||
    together < alive.length
} finally {
  looking = false
  await looks
  await stage.end(false)
}
process.exitCode = failed ? 1 : 0
