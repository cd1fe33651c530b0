/** What the scenarios have in common: a small run, and the questions whether and when peers train together. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pause, until } from './node.js'
import { PORT } from './topology.js'

const STUN_PORT = 3478

/** Longest wait for a node to start or to join on a busy machine, s. */
export const START_PATIENCE = 300

/** Time between two looks at how peers are connected, s. */
const LOOK = 3

/** Exchanges at each of two peers that count as training together. */
const EXCHANGES = 3

/** A model that takes little of the machine; its round of 40 small steps takes a fifth of a second on a quiet machine. It never ends by itself, so the learning rate hardly falls. */
const SMALL_RUN = {
  name: 'lab',
  model: { architecture: 'decoder', context: 32, layers: 1, width: 32, heads: 2, hidden: 64 },
  data: { source: 'stories', bytes: 200_000 },
  training: { batch: 8, steps: 10_000_000, evaluateEvery: 200 },
  strategy: { name: 'noloco', innerSteps: 40 },
}

/** Writes the run's file; JSON is YAML. */
export function writeRun(folder, changes = {}) {
  const file = join(folder, 'run.yaml')
  writeFileSync(file, JSON.stringify({ ...SMALL_RUN, ...changes }, null, 2))
  return file
}

/** Waits for the line by which a node says that it runs; a node that ends instead is an error with the end of its log. */
export async function ready(node, { seconds = START_PATIENCE, signal } = {}) {
  await until(
    `${node.name} is up`,
    seconds,
    () => {
      if (!node.alive) throw new Error(`${node.name} ended with ${node.child.exitCode ?? node.child.signalCode}`)
      return node.ready !== undefined
    },
    signal,
  )
  return node
}

/** Exchanges that a node made with another since a moment, ms since the epoch. */
export const exchanges = (node, partner, since = 0) =>
  node
    .own('exchange')
    .filter((line) => line.seenAt >= since && (partner === undefined || line.partner === partner.ready.peer))

/** Waits until both sides have exchanged with each other several times; the seconds until the first and until the last, from `since`. */
export async function trainTogether(one, other, { since, seconds = START_PATIENCE, signal, times = EXCHANGES }) {
  const least = () => Math.min(exchanges(one, other, since).length, exchanges(other, one, since).length)
  await until(`${times} exchanges of ${one.name} and ${other.name}`, seconds, () => least() >= times, signal)
  const [first] = exchanges(one, other, since)
  return { firstExchange: (first.seenAt - since) / 1_000, exchanges: least() }
}

/** When a node was connected with another after a moment, s from then; undefined while it is not. */
export function connectedAfter(node, other, since) {
  const line = node.own('connected').find(({ remote, seenAt }) => remote === other.ready.peer && seenAt >= since)
  return line === undefined ? undefined : (line.seenAt - since) / 1_000
}

/** Validation loss of a node, the first that it told of and the last. */
export function losses(node) {
  const all = node.own('evaluation').map(({ loss }) => loss)
  return { firstLoss: all.at(0), lastLoss: all.at(-1) }
}

/** Waits until the validation loss is lower than at the start by `by` nats. */
export const learns = (node, { by = 0.1, seconds = START_PATIENCE, signal }) =>
  until(
    `the loss of ${node.name} falls`,
    seconds,
    () => {
      const { firstLoss, lastLoss } = losses(node)
      return lastLoss < firstLoss - by
    },
    signal,
  )

/** Where the bootstrap node is dialled: an address somebody can type, without its name. */
export const bootstrapAddress = (topology) => `/ip4/${topology.addressOf('boot')}/tcp/${PORT}`

/** STUN on the public net, where a machine behind a router learns how the world sees it; returns what --stun takes. */
export async function startStun({ topology, crew }) {
  await crew.serve('boot', 'stun.js', String(STUN_PORT))
  return `stun:${topology.addressOf('boot')}:${STUN_PORT}`
}

/** The public bootstrap node; a second one goes on with the identity of the first. */
export const startBootstrap = ({ topology, crew, signal }) =>
  ready(crew.start('bootstrap', 'boot', ['bootstrap', ...topology.publicly('boot')]), { signal })

/** Looks at how a node is connected with another: every way that it was, in order, and when it was first seen, s. */
export function watchWays({ say, signal }, node, other, since) {
  const stopped = new AbortController()
  const ways = []
  const look = async () => {
    for (;;) {
      const peers = await node.peers().catch(() => []) // it may be busy with its start; there is another look
      const connection = peers.find((one) => one.peer === other.ready.peer)?.connection
      if (connection !== undefined && ways.at(-1)?.via !== connection.via) {
        ways.push({ ...connection, seconds: (Date.now() - since) / 1_000 })
        say(`connected by ${connection.via}: ${connection.address}`)
      }
      await pause(LOOK, AbortSignal.any([signal, stopped.signal]))
    }
  }
  look().catch(() => {}) // told to stop
  return { ways, stop: () => stopped.abort() }
}
