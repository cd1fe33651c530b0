/**
 * Which addresses are dialled. A peer could otherwise be made by strangers to knock at doors of its own machine and of the network it stands in, or would
 * waste its dials on the private addresses of others. Not seen: names that resolve to private addresses.
 */
import { getThinWaistAddresses, isNetworkAddress } from '@libp2p/utils'
import type { Multiaddr } from '@multiformats/multiaddr'
import { isPrivateAddress, parseAddress } from './addresses.ts'

const LOOPBACK = /^\/(ip4\/127\.|ip6\/::1(\/|$)|ip6\/::ffff:127\.)/
/** The machine's interfaces are looked at this often, milliseconds. */
const LOOK_AGAIN = 10_000
/** Addresses named by the user that are remembered: bootstrap addresses and those dialled by hand. The oldest goes first. */
const MAX_NAMED = 256

/** An address of the very machine that dials it. */
export function isLoopback(address: Multiaddr): boolean {
  return LOOPBACK.test(address.toString())
}

/**
 * Whether an address is of use to a node with these addresses of its own: a private one if the node is in a private network itself, one of this
 * machine if the node is nowhere else. Names and public addresses always.
 */
export function inScope(address: Multiaddr, own: readonly Multiaddr[]): boolean {
  if (!isPrivateAddress(address)) return true
  if (isLoopback(address)) return own.length > 0 && own.every(isLoopback)
  return own.some((one) => isPrivateAddress(one) && !isLoopback(one))
}

export interface DialScopeParts {
  listen: readonly string[]
  /** Overrides what follows from the addresses of this node. */
  dialPrivate: boolean | undefined
  now(): number
}

export class DialScope {
  readonly #parts: DialScopeParts
  readonly #listen: Multiaddr[]
  /** Bounded by MAX_NAMED. */
  readonly #named = new Set<string>()
  #own: Multiaddr[] = []
  #lookedAt = Number.NEGATIVE_INFINITY

  constructor(parts: DialScopeParts) {
    this.#parts = parts
    this.#listen = parts.listen.map(parseAddress).filter(isNetworkAddress)
  }

  /** The user named it: it is dialled wherever it leads, and so is what lies behind it if it is a relay. */
  name(address: Multiaddr): void {
    const place = placeOf(address)
    this.#named.delete(place)
    this.#named.add(place)
    if (this.#named.size > MAX_NAMED) this.#named.delete(this.#named.values().next().value as string)
  }

  /** Whether an address may be dialled. */
  allows(address: Multiaddr): boolean {
    if (!isPrivateAddress(address) || this.#named.has(placeOf(address))) return true
    return this.#parts.dialPrivate ?? inScope(address, this.#addresses())
  }

  #addresses(): Multiaddr[] {
    const now = this.#parts.now()
    if (now - this.#lookedAt >= LOOK_AGAIN) {
      this.#lookedAt = now
      this.#own = this.#listen.flatMap((one) => getThinWaistAddresses(one))
    }
    return this.#own
  }
}

/** Host and port. */
const placeOf = (address: Multiaddr): string => address.toString().split('/p2p/')[0] as string
