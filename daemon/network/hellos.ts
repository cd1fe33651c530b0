/** What a node says in its hellos, and what it learns from those of others. */
import type { PeerName } from '../../protocols/index.ts'
import type { Admittance } from './admission.ts'
import { type Hello, MAX_INTRODUCED, PROTOCOL_VERSION, sayable } from './hello.ts'
import type { PeerManager } from './peers.ts'

/** Bootstrap nodes that others named, kept beside those that the user named; and addresses of each. */
const MAX_NAMED_NODES = 8
const MAX_NODE_ADDRESSES = 2

export interface HellosParts {
  self: PeerName
  run: string
  admittance: Admittance
  peers: PeerManager
  /** Where this node can be reached. */
  addresses(): string[]
  connected(): readonly PeerName[]
}

export class Hellos {
  readonly #parts: HellosParts
  /** Bootstrap nodes that others named; at most MAX_NAMED_NODES. */
  readonly #namedNodes = new Set<PeerName>()

  constructor(parts: HellosParts) {
    this.#parts = parts
  }

  /** What this node says to a peer. */
  to(peer: PeerName): Hello {
    const { run, admittance, addresses, connected, peers } = this.#parts
    const others = connected().map((one) => ({ peer: one, addresses: sayable(peers.addressesOf(one)) }))
    return {
      version: PROTOCOL_VERSION,
      run,
      ...admittance.proofFor(peer),
      addresses: sayable(addresses()),
      peers: others.filter((one) => one.addresses.length > 0).slice(0, MAX_INTRODUCED),
    }
  }

  /** Takes down what a peer, or a bootstrap node, said. */
  heard(peer: PeerName, said: Hello): void {
    const { peers } = this.#parts
    // A bootstrap node is no peer: its own addresses are the user's to name.
    if (said.role === undefined) peers.learn(peer, said.addresses)
    for (const other of said.peers) peers.learn(other.peer, other.addresses)
    for (const node of said.role === undefined ? [] : (said.bootstraps ?? [])) this.#named(node)
  }

  /** A bootstrap node names another one: more of them know more peers, and one of them may go away. */
  #named({ peer, addresses }: { peer: PeerName; addresses: string[] }): void {
    const { self, peers } = this.#parts
    if (this.#namedNodes.has(peer) || this.#namedNodes.size >= MAX_NAMED_NODES || peer === self) return
    if (peers.bootstrap().some((known) => known.peer === peer)) return
    const usable = peers.usable(peer, addresses).slice(0, MAX_NODE_ADDRESSES)
    if (usable.length === 0) return
    this.#namedNodes.add(peer)
    peers.addBootstrap(usable.map(String))
  }
}
