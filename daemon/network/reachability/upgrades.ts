/**
 * From a relayed connection to a direct one: dials the direct addresses of peers that are connected through a relay only, and lets go of the relayed
 * connection once something was answered over a direct one, whichever end made it.
 *
 * That a connection is open is not enough: WebRTC between two peers has no handshake of ours, and the end that did not begin it counts its connection as
 * open even where no packet passes (@libp2p/webrtc goes on when the stream with the other's candidates breaks).
 */
import type { Connection, Libp2p } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { Clock, PeerName, Random } from '../../../protocols/index.ts'
import { isRelayed, linkKind, needsRelay } from '../addresses.ts'
import { backOff } from '../back-off.ts'
import { confirm, hasAnswered } from '../connections.ts'
import type { NetworkLog } from '../types.ts'

/** Pause before the first attempt with one peer, after one that failed, and the longest, milliseconds. Addresses that are new are tried at the next look. */
const FIRST_PAUSE = 1_000
const PAUSE = 10_000
const MAX_PAUSE = 10 * 60_000
/** Whole time for one attempt, milliseconds: WebRTC gathers candidates at both ends through the relay first. */
const UPGRADE_TIMEOUT = 20_000
/** Peers whose failures are remembered. */
const MAX_RELAYED = 256
/** Attempts at once. */
const MAX_ATTEMPTS = 4
/** A direct connection over which nothing was answered for so long is given up, milliseconds: a few round trips, on machines that are busy training. */
const CONFIRM_TIMEOUT = 10_000
/** A relayed connection is closed after a direct one has answered beside it for so long, milliseconds: questions that are open on it may end. */
const SETTLE = 5_000
/** Closing politely, milliseconds. */
const CLOSE_TIMEOUT = 2_000

export interface UpgradesParts {
  self: PeerName
  libp2p: Libp2p
  clock: Clock
  random: Random
  log: NetworkLog
  /** Addresses known of a peer, relayed ones included. */
  known(peer: PeerName): Multiaddr[]
  /** What is asked of a peer next should go over its best connection. */
  moved(peer: PeerName): void
  dialled(success: boolean): void
  confirmTimeout?: number
  signal: AbortSignal
}

interface Relayed {
  failures: number
  next: number
  /** The direct addresses of the last attempt. */
  tried: string
}

export class Upgrades {
  readonly #parts: UpgradesParts
  /** Peers that are connected through relays only, or were until their pause is over; at most {@link MAX_RELAYED}, the oldest is forgotten first. */
  readonly #relayed = new Map<PeerName, Relayed>()
  /** Since when a relayed connection has a direct one beside it; bounded by the connections. */
  readonly #leaving = new Map<string, number>()
  /** Direct connections that are being asked for an answer; bounded by the connections. */
  readonly #asked = new Set<string>()
  #attempts = 0

  constructor(parts: UpgradesParts) {
    this.#parts = parts
  }

  /** Looks at all connections; called every heartbeat. */
  look(): void {
    const now = this.#parts.clock.now()
    const byPeer = new Map<PeerName, Connection[]>()
    for (const connection of this.#parts.libp2p.getConnections()) {
      if (connection.status !== 'open') continue
      const peer = connection.remotePeer.toString()
      byPeer.set(peer, [...(byPeer.get(peer) ?? []), connection])
    }
    const leaving = new Set<string>()
    for (const [peer, connections] of byPeer) {
      const relayed = connections.filter((one) => isRelayed(one.remoteAddr))
      const direct = connections.filter((one) => !isRelayed(one.remoteAddr))
      const doubtful = direct.filter(
        (one) => !hasAnswered(one) && (relayed.length > 0 || linkKind(one.remoteAddr) === 'webrtc'),
      )
      for (const connection of doubtful) void this.#confirm(peer, connection)
      if (direct.length === 0) this.#maybeUpgrade(peer, now)
      if (direct.length === doubtful.length) continue
      this.#relayed.delete(peer)
      for (const connection of relayed) {
        leaving.add(connection.id)
        this.#leave(connection, now)
      }
    }
    // Who is back soon after has not failed less often for that.
    for (const [peer, { next }] of this.#relayed) if (!byPeer.has(peer) && next <= now) this.#relayed.delete(peer)
    for (const id of this.#leaving.keys()) if (!leaving.has(id)) this.#leaving.delete(id)
  }

  #maybeUpgrade(peer: PeerName, now: number): void {
    const entry = this.#entry(peer)
    // WebRTC is arranged between the two ends, so one of them begins it; any other address either may dial.
    const begins = this.#parts.self < peer
    const direct = this.#parts
      .known(peer)
      .filter((address) => (needsRelay(address) ? begins && !isRelayed(address) : true))
    const text = direct.map(String).sort().join(' ')
    if (direct.length === 0 || this.#attempts >= MAX_ATTEMPTS) return
    if (entry.next > now && (text === entry.tried || entry.tried === '')) return
    entry.tried = text
    // Until the attempt has ended.
    entry.next = Number.POSITIVE_INFINITY
    this.#parts.log.debug({ peer, addresses: direct.map(String) }, 'a direct connection is tried')
    void this.#upgrade(peer, direct, entry)
  }

  async #upgrade(peer: PeerName, addresses: Multiaddr[], entry: Relayed): Promise<void> {
    const { libp2p, signal, dialled } = this.#parts
    this.#attempts++
    try {
      const connection = await libp2p.dial(addresses, {
        signal: AbortSignal.any([signal, AbortSignal.timeout(UPGRADE_TIMEOUT)]),
      })
      // A relayed connection that came up meanwhile is handed back for any address of the peer.
      if (isRelayed(connection.remoteAddr)) throw new Error('only a relayed connection came of it')
      dialled(true)
      this.#postpone(entry)
      void this.#confirm(peer, connection)
    } catch (error) {
      dialled(false)
      this.#failed(peer, entry, (error as Error).message)
    } finally {
      this.#attempts--
    }
  }

  /** Waits until something is answered over a direct connection, and gives it up if nothing is. Never rejects. */
  async #confirm(peer: PeerName, connection: Connection): Promise<void> {
    const { log, moved, signal, confirmTimeout = CONFIRM_TIMEOUT } = this.#parts
    if (hasAnswered(connection) || this.#asked.has(connection.id)) return
    this.#asked.add(connection.id)
    try {
      await confirm(connection, AbortSignal.any([signal, AbortSignal.timeout(confirmTimeout)]))
      log.info({ peer, address: connection.remoteAddr.toString() }, 'upgraded to a direct connection')
      moved(peer)
    } catch (error) {
      if (signal.aborted) return
      connection.abort(error as Error)
      // A connection that the other end closed says nothing at all.
      const why = (error as Error | undefined)?.message ?? 'it was closed'
      this.#failed(peer, this.#entry(peer), `nothing was answered over a direct connection: ${why}`)
    } finally {
      this.#asked.delete(connection.id)
    }
  }

  #entry(peer: PeerName): Relayed {
    const entry = this.#relayed.get(peer) ?? { failures: 0, next: this.#parts.clock.now() + FIRST_PAUSE, tried: '' }
    this.#relayed.set(peer, entry)
    if (this.#relayed.size > MAX_RELAYED) this.#relayed.delete(this.#relayed.keys().next().value as PeerName)
    return entry
  }

  #failed(peer: PeerName, entry: Relayed, error: string): void {
    entry.failures++
    this.#postpone(entry)
    this.#parts.log.debug({ peer, failures: entry.failures, error }, 'no direct connection; the relay is used on')
  }

  #postpone(entry: Relayed): void {
    const { clock, random } = this.#parts
    entry.next = clock.now() + backOff(entry.failures, PAUSE, MAX_PAUSE, random)
  }

  /** New streams go over the direct connection since that has answered; questions that are open on the relayed one may end before it is closed. */
  #leave(connection: Connection, now: number): void {
    const since = this.#leaving.get(connection.id)
    if (since === undefined) this.#leaving.set(connection.id, now)
    if (since === undefined || now - since < SETTLE) return
    this.#leaving.set(connection.id, Number.POSITIVE_INFINITY)
    connection.close({ signal: AbortSignal.timeout(CLOSE_TIMEOUT) }).catch((error: Error) => connection.abort(error))
  }
}
