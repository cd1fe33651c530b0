/** What the memory network gives and takes. */
import type { Answerer, PeerName, Random, Transport } from '../protocols/index.ts'
import type { VirtualClock } from './clock.ts'
import type { GossipCounters, GossipModel } from './gossip/index.ts'

/** Options of {@link createMemoryNetwork}. */
export interface MemoryNetworkOptions {
  seed: number
  /** One-way delay of a hop: [least, most] ms, drawn anew for every message, or what gives it for two peers. Default [5, 50]. */
  latency?: readonly [number, number] | LatencyModel
  /** Share of gossip deliveries that get lost, on each hop of a mesh, 0 to 1. Default 0. Questions are never lost: they fail with their link. */
  loss?: number
  /** Bytes per second of one link, for what is said in 'mesh' and for questions and answers. Default without limit. */
  bandwidth?: number
  /** Deliver what one peer publishes in that order at every receiver; 'broadcast' only. Default false: messages overtake each other. */
  ordered?: boolean
  /**
   * How gossip travels. 'broadcast', the default: each message once to everyone, only payload counted. 'mesh', or some of its parameters:
   * over gossipsub routers, hop by hop, and every peer connected to some others only, as in the daemon; questions to the rest connect it with them.
   */
  gossip?: GossipModel
  /** Peers that each one counts as connected; 'broadcast' only, the others connect by dialling. Default all. */
  connections?: number
}

/** One-way delay of one message between two peers, ms; what is drawn for it comes from `dice`. `bytes` is 0 for a message that is short. */
export type LatencyModel = (from: PeerName, to: PeerName, bytes: number, dice: Random) => number

/** A fault that a peer held against another. */
export interface Penalty {
  peer: PeerName
  reason: string
}

/** A peer of the memory network. */
export interface MemoryPeer extends Transport {
  /** Vanishes without a word: its links break, its subscriptions and answerers are forgotten. */
  kill(): void
  /** Comes back after {@link kill}, empty, as a new process of the same peer would. */
  revive(): void
  /** Goes on living but answers nothing any more, as a hung process would; `unfreeze` ends that. */
  freeze(): void
  unfreeze(): void
  readonly alive: boolean
  /** What it held against others, oldest first; the last 1,000. */
  readonly penalties: readonly Penalty[]
  /** Questions it has sent and not yet had an answer to. */
  readonly outstanding: number
  /** Most questions it ever had outstanding at once. */
  readonly mostOutstanding: number
  /** Bytes sent and received: payload, and with a gossip mesh everything that the daemon's sockets see of gossip and questions. */
  readonly sent: number
  readonly received: number
  /** What the router of a gossip mesh counted; all zero without one. */
  readonly gossip: Readonly<GossipCounters>
  /** Its neighbours in the gossip mesh of a topic; none without one. */
  mesh(topic: string): readonly PeerName[]
}

/** See the head of this file. */
export interface MemoryNetwork {
  readonly clock: VirtualClock
  /** Adds a peer; without a name it is called peer-0, peer-1, ... */
  join(name?: string): MemoryPeer
  peer(name: PeerName): MemoryPeer
  readonly peers: readonly PeerName[]
  /** Breaks the link between two peers; what is under way on it is lost and questions fail at once. */
  cut(a: PeerName, b: PeerName): void
  heal(a: PeerName, b: PeerName): void
  /** Leaves only links inside the groups; peers in no group keep to themselves. Replaces every cut and the partition before. */
  partition(...groups: readonly (readonly PeerName[])[]): void
  /** Restores every link. */
  healAll(): void
  /** What a peer answers to a method with, to wrap it in a lie. Throws StarlingError 'unknown-method'. */
  answererOf(peer: PeerName, method: string): Answerer
  /** Makes a peer answer otherwise, whatever it registered. */
  replaceAnswerer(peer: PeerName, method: string, answerer: Answerer): void
}
