/** Where peers of the run may be found, as others say. Nothing in here is proven; the handshake proves who answers. */
import type { Multiaddr } from '@multiformats/multiaddr'
import type { PeerName } from '../../protocols/index.ts'
import { needsRelay, peerOf, tryAddress } from './addresses.ts'
import { MAX_ADDRESS_LENGTH, MAX_ADDRESSES } from './hello.ts'

/** Peers remembered; the one with the most failed dials is forgotten for a new one. */
const MAX_KNOWN = 512
/** Failed dials in a row after which a peer that never was of our run, as far as we know, is forgotten. */
const FORGET_FAILURES = 8
/**
 * The same for one that was: dialled at the longest pause, for hours. It may be cut off with half of the swarm, and both halves find each other only
 * through addresses that they have kept.
 */
const FORGET_MET_FAILURES = 200
/** Of two peers that learn of each other at once, the one with the greater name gives the other this long to dial, milliseconds. */
const COURTESY = 1_500
/** A new address of a peer that was not found is tried after this, milliseconds. */
const SECOND_CHANCE = 1_000

export interface Known {
  /** Text to multiaddr; bounded by MAX_ADDRESSES, the oldest goes first. */
  addresses: Map<string, Multiaddr>
  /** Failed dials in a row. */
  failures: number
  nextDial: number
  /** It introduced itself as a peer of our run once. */
  met: boolean
}

export interface AddressBookParts {
  self: PeerName
  now(): number
  /** Whether an address that others name is of any use. */
  mayDial(address: Multiaddr): boolean
  /** Whether addresses of relays are of any use. Default: no. */
  dialsRelays?(): boolean
  isConnected(peer: PeerName): boolean
}

export class AddressBook {
  readonly #parts: AddressBookParts
  /** Bounded by MAX_KNOWN. */
  readonly #known = new Map<PeerName, Known>()

  constructor(parts: AddressBookParts) {
    this.#parts = parts
  }

  /** Takes down addresses of a peer; true when the peer was not known before. Those that are none, or another peer's, are left out. */
  learn(peer: PeerName, addresses: readonly string[]): boolean {
    if (peer === this.#parts.self) return false
    const usable = this.usable(peer, addresses)
    if (usable.length === 0) return false
    const before = this.#known.get(peer)
    if (before === undefined && this.#known.size >= MAX_KNOWN && !this.#makeRoom()) return false
    const now = this.#parts.now()
    const courtesy = this.#parts.self < peer ? 0 : COURTESY
    const known = before ?? { addresses: new Map(), failures: 0, nextDial: now + courtesy, met: false }
    this.#known.set(peer, known)
    for (const address of usable) {
      if (known.addresses.has(address.toString())) continue
      known.addresses.set(address.toString(), address)
      if (known.failures > 0) known.nextDial = Math.min(known.nextDial, now + SECOND_CHANCE)
    }
    for (const text of known.addresses.keys()) {
      if (known.addresses.size <= MAX_ADDRESSES) break
      known.addresses.delete(text)
    }
    return before === undefined
  }

  get(peer: PeerName): Known | undefined {
    return this.#known.get(peer)
  }

  addressesOf(peer: PeerName): string[] {
    return [...(this.#known.get(peer)?.addresses.keys() ?? [])]
  }

  /** Peers whose time to be dialled has come and that pass the test, the most promising first. */
  due(wanted: (peer: PeerName) => boolean): [PeerName, Known][] {
    const now = this.#parts.now()
    const due = [...this.#known].filter(([peer, known]) => known.nextDial <= now && wanted(peer))
    return due.sort(([, a], [, b]) => a.failures - b.failures || a.nextDial - b.nextDial)
  }

  /** Notes that a peer has introduced itself. */
  meet(peer: PeerName): void {
    const known = this.#known.get(peer)
    if (known === undefined) return
    known.failures = 0
    known.met = true
  }

  /** Peers that pass the test, whenever they were dialled last. */
  peers(wanted: (peer: PeerName) => boolean): [PeerName, Known][] {
    return [...this.#known].filter(([peer]) => wanted(peer))
  }

  /** Notes a dial in vain; a peer that was not there for long is forgotten. */
  failed(peer: PeerName, known: Known, nextDial: number): void {
    known.failures++
    known.nextDial = Math.max(known.nextDial, nextDial)
    if (known.failures >= (known.met ? FORGET_MET_FAILURES : FORGET_FAILURES)) this.#known.delete(peer)
  }

  /** Those of the addresses that can be dialled and end at this peer, at most MAX_ADDRESSES. */
  usable(peer: PeerName, addresses: readonly string[]): Multiaddr[] {
    return addresses.slice(0, MAX_ADDRESSES).flatMap((text) => this.#usable(peer, text))
  }

  #usable(peer: PeerName, text: string): Multiaddr[] {
    const address = tryAddress(text)
    if (address === undefined || (peerOf(address) ?? peer) !== peer) return []
    if (needsRelay(address) && this.#parts.dialsRelays?.() !== true) return []
    if (!this.#parts.mayDial(address)) return []
    const whole = tryAddress(peerOf(address) === undefined ? `${address}/p2p/${peer}` : text)
    // What we could not tell others in a hello, or what belongs to no peer id, is of no use.
    return whole === undefined || whole.toString().length > MAX_ADDRESS_LENGTH ? [] : [whole]
  }

  /** Rather keep what is known than let one talkative peer replace it all: only who was not found makes room. */
  #makeRoom(): boolean {
    let worst: PeerName | undefined
    let most = 0
    for (const [peer, { failures }] of this.#known) {
      if (failures <= most || this.#parts.isConnected(peer)) continue
      worst = peer
      most = failures
    }
    return worst !== undefined && this.#known.delete(worst)
  }
}
