/**
 * Who may come in: places and handshakes by address, and places kept for peers that have proven their worth. Asked by the gater before a handshake is paid for.
 *
 * An identity costs nothing, an address does. libp2p itself bounds connections and handshakes in all, and per address those of one second; beyond that one
 * address could hold every place with a hundred identities, or keep handshakes going for ever.
 */
import type { MultiaddrConnection } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import { type Clock, type PeerName, RateLimit } from '../../protocols/index.ts'
import { isPrivateAddress } from './addresses.ts'
import type { RejectReason } from './types.ts'

/** What one address may have. */
export interface AddressLimits {
  /** Connections from it at once. */
  connections: number
  /** Those among them that have not introduced themselves yet. */
  pending: number
  /** New connections per second in the long run, and at once after a rest. */
  rate: number
  burst: number
}

/** Limits on inbound connections. */
export interface PlaceLimits {
  /** For each public address (of IPv6 the network of 64 bits). */
  public: AddressLimits
  /** For each private address, this machine's own, and each relay: many peers share them. */
  shared: AddressLimits
  /** New connections of all addresses together. */
  total: { rate: number; burst: number }
  /** Places for peers that are not known to be good. */
  strangers: number
}

/** Places that even a node that wants very few peers has: it must be able to choose. */
const LEAST = 16

/**
 * Limits of a peer that lets go of others above `maxPeers`. A new connection costs 35 to 45 ms of a core by the time that both know each other (measured), which a
 * trainer should not spend on strangers: a few at once, for swarms that start together, and then one every two seconds. Who is refused tries again, or is dialled.
 */
export function placeLimits(maxPeers: number): PlaceLimits {
  return {
    // A household or a laboratory behind one address.
    public: { connections: 16, pending: 8, rate: 0.5, burst: 16 },
    // A quarter is left to others whatever a neighbour does.
    shared: { connections: sharedPlaces(maxPeers), pending: 16, rate: 0.5, burst: 16 },
    total: { rate: 4, burst: 64 },
    strangers: Math.max(LEAST, maxPeers),
  }
}

/** Limits of a node that is there for newcomers and does no other work: its connections with up to `maxPeers`. */
export function servicePlaceLimits(maxPeers: number): PlaceLimits {
  return {
    public: { connections: 16, pending: 8, rate: 1, burst: 32 },
    shared: { connections: sharedPlaces(maxPeers), pending: 32, rate: 2, burst: 100 },
    total: { rate: 20, burst: 400 },
    strangers: Math.max(LEAST, maxPeers),
  }
}

const sharedPlaces = (maxPeers: number): number => Math.max(LEAST, Math.ceil(maxPeers * 0.75))

/** A peer introduces itself within this, milliseconds, or is disconnected by others; its connection does not count as pending for longer. */
export const PENDING_TIME = 30_000
/** What its address pays for a peer that had to be disconnected for a proven fault, in new connections. */
export const BLAME = 30
/** Longest wait of newcomers from an address for all that its peers did, milliseconds: honest ones may stand behind it too. */
export const MAX_BLAME = 60_000
/** Addresses whose rate is remembered; those that have recovered go first. */
const MAX_ADDRESSES = 4_096

export interface Refusal {
  reason: RejectReason
  detail: string
}

interface Line {
  address: string
  limits: AddressLimits
  relayed: boolean
  since: number
  settled: boolean
  peer?: PeerName
}

export class Places {
  readonly #limits: PlaceLimits
  readonly #clock: Pick<Clock, 'now'>
  readonly #isGood: (peer: PeerName) => boolean
  /** Inbound connections; bounded by libp2p's limits on connections and handshakes. */
  readonly #lines = new Map<MultiaddrConnection, Line>()
  readonly #public: RateLimit
  readonly #shared: RateLimit
  readonly #total: RateLimit

  constructor(limits: PlaceLimits, clock: Pick<Clock, 'now'>, isGood: (peer: PeerName) => boolean) {
    this.#limits = limits
    this.#clock = clock
    this.#isGood = isGood
    this.#public = new RateLimit({ ...limits.public, keys: MAX_ADDRESSES })
    this.#shared = new RateLimit({ ...limits.shared, keys: MAX_ADDRESSES })
    this.#total = new RateLimit({ ...limits.total, keys: 1 })
  }

  /** A connection that nothing is known of but where it comes from: why it is refused, or undefined, and then it has a place until it closes. */
  arrive(connection: MultiaddrConnection): Refusal | undefined {
    const { address, shared, relayed } = sourceOf(connection.remoteAddr)
    const limits = shared ? this.#limits.shared : this.#limits.public
    const now = this.#clock.now()
    const here = [...this.#lines.values()].filter((line) => line.address === address)
    if (here.length >= limits.connections) {
      return { reason: 'address-limit', detail: `${here.length} connections from ${address} already` }
    }
    const pending = here.filter((line) => !line.settled && now - line.since < PENDING_TIME).length
    if (pending >= limits.pending) {
      return {
        reason: 'address-limit',
        detail: `${pending} connections from ${address} that have not said who they are`,
      }
    }
    const rate = shared ? this.#shared : this.#public
    if (!rate.allow(address, 1, now) || !this.#total.allow('', 1, now)) {
      return { reason: 'connection-rate', detail: `new connections too often, the last from ${address}` }
    }
    this.#lines.set(connection, { address, limits, relayed, since: now, settled: false })
    connection.addEventListener('close', () => this.#lines.delete(connection), { once: true })
    return undefined
  }

  /** The handshake has proven whose connection it is. */
  prove(peer: PeerName, connection: MultiaddrConnection): Refusal | undefined {
    const line = this.#lines.get(connection)
    if (line !== undefined) line.peer = peer
    if (this.#isGood(peer)) return undefined
    const strangers = new Set<PeerName>()
    for (const { peer: other } of this.#lines.values())
      if (other !== undefined && !this.#isGood(other)) strangers.add(other)
    if (strangers.size <= this.#limits.strangers) return undefined
    return { reason: 'no-room', detail: `${this.#limits.strangers} others are connected` }
  }

  /** The peer has introduced itself. */
  settle(peer: PeerName): void {
    for (const line of this.#lines.values()) if (line.peer === peer) line.settled = true
  }

  /**
   * The peer had to be disconnected for a proven fault: newcomers from where it came wait, or it would be back with a fresh identity at once. Those who are in stay, and
   * whoever this node dials comes in. A relay pays for nobody: one fault a minute would keep out everybody behind it.
   */
  blame(peer: PeerName): void {
    const now = this.#clock.now()
    const sources = new Map<string, Line>() // bounded by the connections of one peer
    for (const line of this.#lines.values()) if (line.peer === peer && !line.relayed) sources.set(line.address, line)
    for (const [address, { limits }] of sources) {
      const rate = limits === this.#limits.shared ? this.#shared : this.#public
      const left = (MAX_BLAME - rate.delay(address, 1, now)) / 1_000
      rate.spend(address, Math.max(0, Math.min(BLAME, left * limits.rate)), now)
    }
  }

  /** Inbound connections now, handshakes included. */
  get size(): number {
    return this.#lines.size
  }
}

/** What a connection's limits are kept by. */
export function sourceOf(remote: Multiaddr): { address: string; shared: boolean; relayed: boolean } {
  const parts = remote.getComponents()
  if (parts.some(({ name }) => name === 'p2p-circuit')) {
    return { address: `relay ${parts.find(({ name }) => name === 'p2p')?.value ?? ''}`, shared: true, relayed: true }
  }
  const host = parts.find(({ name }) => name === 'ip4' || name === 'ip6')
  if (host?.value === undefined) return { address: parts[0]?.name ?? '', shared: true, relayed: false }
  const address = host.name === 'ip6' ? network64(host.value) : host.value
  return { address, shared: isPrivateAddress(remote), relayed: false }
}

/** The first 64 bits of an IPv6 address, which one customer usually has all of; of one that stands for an IPv4 address, that. */
function network64(host: string): string {
  const [head = '', tail] = host.split('::')
  const first = head === '' ? [] : head.split(':')
  const last = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = new Array<string>(Math.max(0, 8 - first.length - last.length)).fill('0')
  const groups = [...first, ...zeros, ...last].map((group) => Number.parseInt(group, 16))
  const [high = 0, low = 0] = groups.slice(6)
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return [high >> 8, high & 255, low >> 8, low & 255].join('.')
  }
  return `${groups
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(':')}::/64`
}
