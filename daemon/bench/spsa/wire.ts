/**
 * Bytes on the wire per gradient of the strategy `spsa`, everything counted: signatures, keys, topics, forwarded copies, IHAVE and IWANT,
 * anti-entropy, multiplexing and encryption. What TCP and IP add is not seen by the daemon's counters: 40 to 52 bytes for each segment.
 */
import {
  CONTRIBUTIONS_TOPIC,
  createSwarm,
  equalBytes,
  HEARTBEAT_TOPIC,
  heartbeatInterval,
  StarlingError,
  type Transport,
} from '../../../protocols/index.ts'
import { BENCH_RUN, startLoopback } from '../loopback.ts'
import { createContributor } from './contributor.ts'

/** Bytes that a peer has sent since its start. */
export interface BytesSent {
  /** On its sockets. */
  wire: number
  /** Of those, inside the streams of gossip, forwarding and heartbeats included. */
  gossip: number
}

/** A node, real or simulated, and its counters. */
export interface WirePeer {
  transport: Transport
  sent(): BytesSent
}

export interface WireOptions {
  /** Contributions in one message; each is measured in turn. Default 1, 16 and 64. */
  batches?: readonly number[]
  /** Messages that each peer publishes for each of these. Default 10. */
  messages?: number
  /** Time between two messages of a peer, ms; the peers take turns. Default 1,000. */
  interval?: number
  signal?: AbortSignal
}

/** Bytes of all peers. */
interface Sums extends BytesSent {
  /** Questions and answers of anti-entropy that found another set. */
  sync: number
}

/** Bytes per gradient. A peer receives as much as it sends, in the mean. */
export interface BatchFigures {
  batch: number
  /** Gradients contributed by all peers together. */
  gradients: number
  /** Bytes that each peer sends for one gradient of anybody, beyond what it sends when nobody contributes. */
  perPeer: number
  /** The same of all peers together: what one gradient costs the whole swarm. */
  perSwarm: number
  /** Of `perPeer`, the bytes inside gossip's streams. */
  gossip: number
  /**
   * Of `perPeer`, the questions and answers of anti-entropy that found another set. Comparisons of equal sets are made whether anybody contributes or
   * not, and belong to `idle`. The rest of `perPeer` is headers and framing.
   */
  sync: number
}

export interface WireFigures {
  peers: number
  /** What a peer sends to keep its connections and to compare equal sets, when nobody contributes, bytes per second. */
  idle: number
  /** What a peer sends beyond that for the heartbeats of all members, its own and forwarded ones, bytes per second. */
  heartbeats: number
  batches: BatchFigures[]
}

/** How long to look at a swarm in which nothing happens, ms. */
const IDLE = 10_000
/** Messages are told of in three heartbeats of the router; so long after the last one, ms. */
const AFTERMATH = 5_000
/** Peers hear of each other, and of each other's contributions, within this, ms. */
const PATIENCE = 120_000
/** Between two looks, ms. */
const LOOK = 100

/**
 * Measures with peers that are connected and do nothing else. Sleeps on the peers' clock, so that it works in virtual time as well.
 *
 * Throws StarlingError 'bench-stuck' when peers do not hear of each other, and 'bench-refused' when one refuses what another sends.
 */
export async function measureWire(peers: readonly WirePeer[], options: WireOptions = {}): Promise<WireFigures> {
  const { batches = [1, 16, 64], messages = 10, interval = 1_000, signal } = options
  const clock = peers[0]?.transport.clock
  if (clock === undefined) {
    throw new RangeError('the bytes of no peers cannot be measured')
  }
  const faults: string[] = []
  const steps = messages * batches.reduce((sum, batch) => sum + batch, 0)
  const transports = peers.map(({ transport }) => transport)
  const shared = { transports, steps, fault: (text: string) => faults.push(text) }
  const contributors = transports.map((transport) => createContributor(transport, shared))
  const until = async (condition: () => boolean, what: string): Promise<void> => {
    const end = clock.now() + PATIENCE
    while (!condition()) {
      if (clock.now() > end) {
        throw new StarlingError('bench-stuck', `waited ${PATIENCE} ms in vain for ${what}`, { peers: peers.length })
      }
      await clock.sleep(LOOK, signal)
    }
  }
  const sent = (): Sums => {
    const sum = { wire: 0, gossip: 0, sync: 0 }
    for (const peer of peers) {
      const { wire, gossip } = peer.sent()
      sum.wire += wire
      sum.gossip += gossip
    }
    for (const contributor of contributors) {
      sum.sync += contributor.caughtUp()
    }
    return sum
  }

  /** Bytes of all peers per millisecond in which nothing happens, over `duration` ms. */
  const rest = async (duration = IDLE): Promise<Sums> => {
    await clock.sleep(AFTERMATH, signal)
    const before = sent()
    const start = clock.now()
    await clock.sleep(duration, signal)
    return difference(sent(), before, 1 / (clock.now() - start))
  }

  const swarms = peers.map(({ transport }) => createSwarm(transport, { run: BENCH_RUN, incarnation: 1 }))
  let beating: Sums
  try {
    await Promise.all(swarms.map((swarm) => swarm.start()))
    await until(
      () => swarms.every((swarm) => swarm.members().length === peers.length - 1),
      'everybody to know everybody',
    )
    // Heartbeats become rarer in larger swarms: long enough for a few of each peer.
    beating = await rest(Math.max(IDLE, 3 * heartbeatInterval(peers.length - 1)))
  } finally {
    await Promise.all(swarms.map((swarm) => swarm.stop()))
  }

  try {
    await Promise.all(contributors.map((contributor) => contributor.start()))
    // Before and after each batch: connections that are young say more than old ones, and what is idle must be of the same time.
    const rests = [await rest()]

    const figures: BatchFigures[] = []
    for (const batch of batches) {
      const start = clock.now()
      const from = sent()
      for (let message = 0; message < messages; message++) {
        for (const contributor of contributors) {
          await contributor.contribute(batch)
          await clock.sleep(interval / peers.length, signal)
        }
      }
      const [first, ...others] = contributors.map(({ log }) => log)
      await until(() => others.every((log) => equalBytes(log.digest(), first!.digest())), 'the logs to be equal')
      await clock.sleep(AFTERMATH, signal)
      const gradients = messages * batch * peers.length
      const quiet = clock.now() - start
      const spent = difference(sent(), from, 1)
      rests.push(await rest())
      const idle = mean(rests.slice(-2))
      const per = (kind: keyof BytesSent): number => (spent[kind] - idle[kind] * quiet) / gradients / peers.length
      figures.push({
        batch,
        gradients,
        perPeer: per('wire'),
        perSwarm: per('wire') * peers.length,
        gossip: per('gossip'),
        // Nothing to subtract: without contributions all sets are equal.
        sync: spent.sync / gradients / peers.length,
      })
    }
    if (faults.length > 0) {
      throw new StarlingError('bench-refused', `contributions were refused: ${faults[0]}`, { faults: faults.length })
    }
    const perSecond = (bytes: number): number => (bytes * 1_000) / peers.length
    return {
      peers: peers.length,
      idle: perSecond(mean(rests).wire),
      heartbeats: perSecond(beating.wire - rests[0]!.wire),
      batches: figures,
    }
  } finally {
    await Promise.all(contributors.map((contributor) => contributor.stop()))
  }
}

/** Measures with real nodes in this process, connected over the loopback interface: one after another for each number of peers. */
export async function benchWire(options: WireOptions & { peers?: readonly number[] } = {}): Promise<WireFigures[]> {
  const figures: WireFigures[] = []
  for (const count of options.peers ?? [4, 16]) {
    const loopback = await startLoopback(count, [HEARTBEAT_TOPIC, CONTRIBUTIONS_TOPIC], options.signal)
    try {
      await loopback.settled(options.signal)
      const peers = loopback.nodes.map((node) => ({
        transport: node,
        sent: () => {
          const { wire, protocols } = node.counters()
          const streams = Object.entries(protocols).filter(([name]) => name.startsWith('/meshsub/'))
          return { wire: wire.sent, gossip: streams.reduce((sum, [, bytes]) => sum + bytes.sent, 0) }
        },
      }))
      figures.push(await measureWire(peers, options))
    } finally {
      await loopback.stop()
    }
  }
  return figures
}

function mean(sums: readonly Sums[]): Sums {
  const of = (kind: keyof Sums): number => sums.reduce((sum, each) => sum + each[kind], 0) / sums.length
  return { wire: of('wire'), gossip: of('gossip'), sync: of('sync') }
}

function difference(after: Sums, before: Sums, factor: number): Sums {
  return {
    wire: (after.wire - before.wire) * factor,
    gossip: (after.gossip - before.gossip) * factor,
    sync: (after.sync - before.sync) * factor,
  }
}
