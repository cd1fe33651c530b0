/**
 * The peer manager: finds peers of the run, dials them, keeps enough of them and lets go of too many.
 *
 * Addresses come from the bootstrap list, from mDNS and from the hellos of peers. Bootstrap addresses are dialled for ever; others
 * are forgotten when nobody has answered there for a while. libp2p dials nobody by itself. Who has enough connections still looks at another known
 * peer now and then: two halves of a swarm that was cut in two would not find each other again otherwise.
 */
import type { Connection, Libp2p, PeerId } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import { type Clock, type PeerName, type Random, StarlingError, surplus } from '../../protocols/index.ts'
import { AddressBook } from './address-book.ts'
import { parseAddress, peerOf, withPeer } from './addresses.ts'
import { backOff } from './back-off.ts'
import type { Counters } from './counters.ts'
import type { DialScope } from './dial-scope.ts'
import { Dialler } from './dialler.ts'
import { Exchange } from './exchange.ts'
import type { Introductions } from './introductions.ts'
import type { Ledger } from './ledger.ts'
import type { BootstrapStatus, NetworkEvent, NetworkLog } from './types.ts'

/** First pause after a failed dial, and the longest, milliseconds. */
const BACK_OFF = 1_000
const MAX_BACK_OFF = 60_000
const MAX_BOOTSTRAP_BACK_OFF = 15_000
/** Peers of another run or protocol are left alone this long, milliseconds. */
const STRANGER_PAUSE = 10 * 60_000
/** Time from one look at a peer that is not connected to the next, with enough connections; milliseconds. */
export const DEFAULT_EXPLORE = 60_000
/** Bootstrap addresses at most. */
const MAX_BOOTSTRAP = 64

interface Bootstrap {
  address: Multiaddr
  /** Who answered there last, or whom the address names. */
  peer: PeerName | undefined
  failures: number
  nextDial: number
  /** Why the last dial failed. */
  error: string | undefined
}

export interface PeersParts {
  libp2p: Libp2p
  self: PeerName
  introductions: Introductions
  ledger: Ledger
  counters: Counters
  clock: Clock
  random: Random
  log: NetworkLog
  emit(event: NetworkEvent): void
  /** Peers through which this node can be reached: they are kept. */
  relays(): PeerName[]
  /** Called with each look for something to do. */
  beat(): void
  /** A peer has no connection any more. */
  gone(peer: PeerName): void
  /** When a peer asked or was asked the last time. */
  usedAt(peer: PeerName): number | undefined
  target: number
  max: number
  heartbeat: number
  explore: number
  scope: DialScope
  /** Whether peers behind relays can be dialled. */
  dialsRelays: boolean
  signal: AbortSignal
}

export class PeerManager {
  readonly #parts: PeersParts
  readonly #book: AddressBook
  /** By address text; bounded by MAX_BOOTSTRAP. */
  readonly #bootstrap = new Map<string, Bootstrap>()
  readonly #dialler: Dialler
  readonly #exchange: Exchange
  #timer: NodeJS.Timeout | undefined
  #soon: NodeJS.Immediate | undefined
  #nextExplore: number
  #addresses = ''

  constructor(parts: PeersParts) {
    this.#parts = parts
    this.#dialler = new Dialler(parts)
    this.#exchange = new Exchange(parts)
    this.#nextExplore = this.#afterExplore()
    this.#book = new AddressBook({
      self: parts.self,
      now: () => parts.clock.now(),
      mayDial: (address) => parts.scope.allows(address),
      dialsRelays: () => parts.dialsRelays,
      isConnected: (peer) => this.#connections(peer).length > 0,
    })
  }

  start(): void {
    const { libp2p, heartbeat } = this.#parts
    libp2p.addEventListener('peer:connect', this.#onConnect)
    libp2p.addEventListener('peer:disconnect', this.#onDisconnect)
    libp2p.addEventListener('self:peer:update', this.#onSelf)
    this.#timer = setInterval(() => this.#tick(), heartbeat)
    this.#onSelf()
    this.wake()
  }

  stop(): void {
    const { libp2p } = this.#parts
    libp2p.removeEventListener('peer:connect', this.#onConnect)
    libp2p.removeEventListener('peer:disconnect', this.#onDisconnect)
    libp2p.removeEventListener('self:peer:update', this.#onSelf)
    clearInterval(this.#timer)
    clearImmediate(this.#soon)
  }

  /** Looks for something to do in the next turn of the event loop. */
  wake(): void {
    if (this.#timer === undefined || this.#parts.signal.aborted) return
    this.#soon ??= setImmediate(() => {
      this.#soon = undefined
      this.#tick()
    })
  }

  /** Nothing that is known of who answers where holds any more: everybody may be dialled at once. */
  woken(): void {
    for (const entry of this.#bootstrap.values()) entry.nextDial = 0
    for (const [, known] of this.#book.peers(() => true)) known.nextDial = 0
    this.#exchange.seek()
    this.#onSelf()
    this.wake()
  }

  addBootstrap(addresses: readonly string[]): void {
    for (const text of addresses) {
      const address = parseAddress(text)
      const peer = peerOf(address)
      if (peer === this.#parts.self || this.#bootstrap.has(text)) continue
      if (this.#bootstrap.size >= MAX_BOOTSTRAP) {
        throw new StarlingError('too-many-addresses', `more than ${MAX_BOOTSTRAP} bootstrap addresses`, {
          address: text,
        })
      }
      this.#parts.scope.name(address)
      this.#bootstrap.set(text, { address, peer, failures: 0, nextDial: 0, error: undefined })
    }
    this.wake()
  }

  /** Addresses that are gone back to, and whether anybody answers there. */
  bootstrap(): BootstrapStatus[] {
    const { introductions } = this.#parts
    return [...this.#bootstrap].map(([address, { peer, failures, error }]) => {
      const refusal = peer === undefined ? undefined : introductions.failureOf(peer)
      const why = refusal?.message ?? error
      return {
        address,
        connected: peer !== undefined && this.#connections(peer).length > 0,
        failures,
        ...(peer === undefined ? {} : { peer }),
        ...(peer !== undefined && introductions.services().includes(peer) ? { service: true as const } : {}),
        ...(refusal === undefined ? {} : { refusal: refusal.code }),
        ...(why === undefined ? {} : { error: why }),
      }
    })
  }

  /** Learns addresses of a peer from others. */
  learn(peer: PeerName, addresses: readonly string[]): void {
    if (!this.#book.learn(peer, addresses)) return
    this.#exchange.soon()
    this.wake()
  }

  addressesOf(peer: PeerName): string[] {
    const dialled = this.#connections(peer).filter((one) => one.direction === 'outbound')
    const texts = dialled.map((one) => withPeer(one.remoteAddr, peer).toString())
    return [...new Set([...texts, ...this.#book.addressesOf(peer)])]
  }

  /** Addresses in the book. */
  known(peer: PeerName): Multiaddr[] {
    return [...(this.#book.get(peer)?.addresses.values() ?? [])]
  }

  /** Those of the addresses that can be dialled. */
  usable(peer: PeerName, addresses: readonly string[]): Multiaddr[] {
    return this.#book.usable(peer, addresses)
  }

  /** Dials a peer once, whatever the number of connections. Resolves to whether it answered; never rejects. */
  async connect(peer: PeerName, addresses: Multiaddr[]): Promise<boolean> {
    if (this.#parts.ledger.isBanned(peer)) return false
    if ((await this.#dialler.attempt(peer, addresses)) !== undefined) return true
    const known = this.#book.get(peer)
    if (known !== undefined) this.#book.failed(peer, known, this.#pause(known.failures + 1, MAX_BACK_OFF))
    return false
  }

  /** Dials an address now and waits until the peer has introduced itself. */
  async dial(text: string, signal?: AbortSignal): Promise<PeerName> {
    const address = parseAddress(text)
    this.#parts.scope.name(address)
    const peer = await this.#dialler.dial(address, signal)
    await this.#parts.introductions.done(peer)
    return peer
  }

  async disconnect(peer: PeerName): Promise<void> {
    for (const connection of this.#connections(peer)) {
      try {
        await connection.close({ signal: AbortSignal.timeout(1_000) })
      } catch (error) {
        connection.abort(error as Error)
      }
    }
  }

  /** Named by the user, or known from the last time: it keeps its place. */
  isKept(peer: PeerName): boolean {
    for (const entry of this.#bootstrap.values()) if (entry.peer === peer) return true
    return false
  }

  /** Leaves a peer alone that is of another run or speaks another protocol. */
  avoid(peer: PeerName): void {
    const until = this.#parts.clock.now() + STRANGER_PAUSE
    const known = this.#book.get(peer)
    if (known !== undefined) known.nextDial = until
    for (const entry of this.#bootstrap.values()) if (entry.peer === peer) entry.nextDial = until
  }

  #connections(peer: PeerName): Connection[] {
    return this.#parts.libp2p.getConnections().filter((one) => one.remotePeer.toString() === peer)
  }

  readonly #onConnect = (event: CustomEvent<PeerId>): void => {
    const peer = event.detail.toString()
    void this.#parts.introductions.begin(peer).then((introduced) => {
      if (!introduced) return
      this.#book.meet(peer)
      this.#exchange.soon()
      this.wake()
    })
  }

  readonly #onDisconnect = (event: CustomEvent<PeerId>): void => {
    const peer = event.detail.toString()
    this.#parts.introductions.forget(peer)
    this.#parts.gone(peer)
    const known = this.#book.get(peer)
    // Give it a moment: it may be restarting, or may have pruned us.
    if (known !== undefined) known.nextDial = Math.max(known.nextDial, this.#pause(1, MAX_BACK_OFF))
    // A bootstrap peer that many go back to lets go of some; who has enough others leaves it alone for a while.
    if (this.#parts.introductions.peers().length >= this.#parts.target) {
      for (const entry of this.#bootstrap.values()) if (entry.peer === peer) entry.nextDial = this.#afterExplore()
    }
    this.#exchange.soon()
  }

  readonly #onSelf = (): void => {
    const addresses = this.#parts.libp2p.getMultiaddrs().map(String)
    const text = addresses.join(' ')
    if (text === this.#addresses) return
    this.#addresses = text
    this.#exchange.announce()
    this.#parts.emit({ kind: 'addresses', addresses })
  }

  #tick(): void {
    const now = this.#parts.clock.now()
    const everybody = this.#parts.libp2p.getPeers().map(String)
    const connected = new Set(everybody.filter((peer) => !this.#parts.introductions.isBystander(peer)))
    this.#prune(connected, now)
    for (const [text, entry] of this.#bootstrap) {
      if (entry.nextDial > now || (entry.peer !== undefined && everybody.includes(entry.peer))) continue
      if (connected.size >= this.#parts.max) break
      this.#dialBootstrap(text, entry)
    }
    const room = this.#parts.target - connected.size - this.#dialler.size
    const free = (peer: PeerName): boolean =>
      !everybody.includes(peer) && !this.#dialler.has(peer) && !this.#parts.ledger.isAvoided(peer)
    for (const [peer] of this.#book.due(free).slice(0, Math.max(0, room))) this.#dialKnown(peer)
    if (now >= this.#nextExplore) {
      this.#nextExplore = this.#afterExplore()
      const others = room > 0 || connected.size >= this.#parts.max ? [] : this.#book.peers(free)
      const chosen = others[others.length > 0 ? this.#parts.random.integer(others.length) : 0]
      if (chosen !== undefined) this.#dialKnown(chosen[0])
    }
    this.#exchange.look()
    this.#parts.beat()
  }

  #dialBootstrap(text: string, entry: Bootstrap): void {
    if (!this.#dialler.mayBegin(text)) return
    const failed = (why: string): void => {
      entry.error = why
    }
    void this.#dialler.attempt(text, [entry.address], failed).then((peer) => {
      if (peer !== undefined) {
        entry.peer = peer
        entry.failures = 0
        entry.error = undefined
        entry.nextDial = this.#pause(1, MAX_BOOTSTRAP_BACK_OFF)
        return
      }
      entry.failures++
      entry.nextDial = this.#pause(entry.failures, MAX_BOOTSTRAP_BACK_OFF)
    })
  }

  #dialKnown(peer: PeerName): void {
    if (!this.#dialler.mayBegin(peer)) return
    void this.connect(peer, this.known(peer))
  }

  /** When to look at another peer next, with jitter. */
  #afterExplore(): number {
    return this.#parts.clock.now() + this.#parts.explore * (0.5 + this.#parts.random.uniform())
  }

  /** The moment after a pause that doubles with each failure. */
  #pause(failures: number, longest: number): number {
    return this.#parts.clock.now() + backOff(failures, BACK_OFF, longest, this.#parts.random)
  }

  #prune(connected: Set<PeerName>, now: number): void {
    const { libp2p, target, max, ledger, usedAt, log } = this.#parts
    const kept = new Set([...this.#bootstrap.values()].map((entry) => entry.peer))
    for (const peer of this.#parts.relays()) kept.add(peer)
    // Connections tell the time of day, questions that of the clock.
    const ages = new Map<PeerName, number>()
    for (const { remotePeer, timeline } of libp2p.getConnections()) {
      const peer = remotePeer.toString()
      ages.set(peer, Math.max(ages.get(peer) ?? 0, Date.now() - timeline.open))
    }
    const list = [...connected].map((peer) => {
      const openedAt = now - (ages.get(peer) ?? 0)
      return { peer, openedAt, usedAt: usedAt(peer) ?? openedAt, points: ledger.points(peer), kept: kept.has(peer) }
    })
    for (const peer of surplus(list, { target, max }, now)) {
      log.debug({ peer }, 'disconnected: more peers than wanted')
      void this.disconnect(peer)
    }
  }
}
