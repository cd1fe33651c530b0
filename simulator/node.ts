/** The inside of a peer of the memory network. */
import type { Answerer, PeerName, StarlingError, TopicHandler } from '../protocols/index.ts'
import type { GossipCounters } from './gossip/index.ts'
import type { MemoryPeer, Penalty } from './types.ts'

/** A question under way. */
export interface Link {
  from: Node
  to: Node
  /** Fails a question under way. */
  fail: (error: StarlingError) => void
}

/** A peer and what its present process has registered. */
export interface Node {
  name: PeerName
  alive: boolean
  frozen: boolean
  /** Counts the processes of this peer: what was meant for an earlier one is not delivered to a later one. */
  life: number
  topics: Map<string, TopicHandler>
  answerers: Map<string, Answerer>
  listeners: Set<() => void>
  /** The listeners are about to be called. */
  notified: boolean
  penalties: Penalty[]
  outstanding: number
  mostOutstanding: number
  sent: number
  received: number
  gossip: GossipCounters
  /** Latest delivery time per publisher, for `ordered`. */
  latest: Map<PeerName, number>
  transport: MemoryPeer
}

/** A peer that has just joined; its transport is set right after. */
export function newNode(name: PeerName): Node {
  return {
    name,
    alive: true,
    frozen: false,
    life: 0,
    topics: new Map(),
    answerers: new Map(),
    listeners: new Set(),
    notified: false,
    penalties: [],
    outstanding: 0,
    mostOutstanding: 0,
    sent: 0,
    received: 0,
    gossip: {
      published: 0,
      publishedCopies: 0,
      first: 0,
      firstHops: 0,
      duplicates: 0,
      recovered: 0,
      frames: 0,
      streamBytes: 0,
    },
    latest: new Map(),
    transport: undefined as unknown as MemoryPeer,
  }
}
