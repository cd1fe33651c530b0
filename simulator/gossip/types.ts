/** How the memory network carries gossip: what a way of doing it needs, and what it gives. */
import type { GossipMessage, PeerName, Random } from '../../protocols/index.ts'
import type { Cost } from '../ask.ts'
import type { VirtualClock } from '../clock.ts'
import type { Node } from '../node.ts'

/** What gossip needs of the network under it. */
export interface GossipParts {
  seed: number
  clock: VirtualClock
  /** Every peer that ever joined. */
  nodes: ReadonlyMap<PeerName, Node>
  /** Whether two peers live and can reach each other directly. */
  linked(a: Node, b: Node): boolean
  /** Whether whoever can be reached at all can be reached directly. */
  direct(): boolean
  /** One-way delay of a message of that many bytes, ms. */
  delay(bytes: number, from: Node, to: Node): number
  dice: Random
  /** Share of deliveries that get lost. */
  loss: number
  /** Peers that each one counts as connected, in a broadcast. */
  connections: number
  /** Deliver what one peer publishes in that order. */
  ordered: boolean
  /** Tells a peer that its connections changed. */
  notify(node: Node): void
  /** Fails the questions under way on connections that are there no more. */
  broken(): void
}

/** One way of carrying gossip. */
export interface Gossip {
  /** Sends a message out; the number of peers it was handed to. */
  publish(from: Node, topic: string, data: Uint8Array): number
  subscribed(node: Node, topic: string): void
  unsubscribed(node: Node, topic: string): void
  /** To be called when peers came, died or came back, or links were cut or healed. */
  changed(): void
  /** Neighbours in the mesh of a topic. */
  mesh(node: Node, topic: string): readonly PeerName[]
  /** Peers with a connection to this one. */
  connected(node: Node): readonly Node[]
  isConnected(a: Node, b: Node): boolean
  /** Connects a peer with another one that it wants to ask; false where no link is. */
  reach(from: Node, to: Node): boolean
  /** Notes that a question goes from one peer to the other. */
  asked(from: Node, to: Node): void
  /** Bytes that count of a question or an answer: of its method or error code, and of its body. */
  counted(message: { text: number; body: number }): Cost
}

/** Lets a peer's handler look at a message; if it accepts, gives what hands it over. A rejected one is held against who brought it. */
export function validated(node: Node, message: GossipMessage, forwarder: PeerName): (() => void) | undefined {
  const verdict = node.topics.get(message.topic)?.validate(message)
  if (verdict?.verdict === 'reject') {
    node.transport.penalize(forwarder, verdict.reason)
  }
  return verdict?.verdict === 'accept' ? () => node.topics.get(message.topic)?.handle(message) : undefined
}
