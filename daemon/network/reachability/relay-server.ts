/**
 * The serving end of circuit relay v2: carries connections between peers that cannot dial each other.
 *
 * libp2p's server is made for signalling: two minutes and 128 KiB a circuit, 15 reservations. Ours carries whole runs, so circuits have no limit of time
 * or bytes (what travels on them counts as an ordinary connection, not as a "limited" one); what is bounded instead is how many there are and what each
 * holds in memory. libp2p's server does not bound the latter: it reads as fast as the sender sends and queues what the receiver has not taken.
 */
import {
  type CircuitRelayServerComponents,
  type CircuitRelayService,
  circuitRelayServer,
} from '@libp2p/circuit-relay-v2'
import type { Connection, ConnectionGater, Startable, Stream, StreamMessageEvent } from '@libp2p/interface'

/** What a relay gives away at most. */
export interface RelayLimits {
  /** Peers that can be reached through this node at once. */
  reservations: number
  /** Circuits open at once, in all and to or from one peer. */
  circuits: number
  circuitsPerPeer: number
}

/** Room for 80 private peers that have a dozen connections each, all of them relayed; at worst 0.6 GB of memory. */
export const DEFAULT_RELAY_LIMITS: RelayLimits = { reservations: 256, circuits: 512, circuitsPerPeer: 48 }

/**
 * Life of a reservation, milliseconds. Clients renew five minutes before its end at the earliest, and not before ten minutes of it are left; it ends with
 * the connection, so this only bounds what a dead line may hold.
 */
const RESERVATION_TTL = 15 * 60_000
/** Reading a request for a circuit, and the other end's consent to it, milliseconds. */
const HOP_TIMEOUT = 10_000
/** Bytes queued in one direction of a circuit above which the sender is paused, and below which it goes on. */
const PAUSE_AT = 64 * 1024
const RESUME_AT = 16 * 1024
/**
 * Bytes that a paused sender may still have on its way, the muxer's window on a relay: with {@link PAUSE_AT} in both directions it bounds what a circuit
 * holds at 1.2 MB. 512 KiB on a line of 100 ms carry 40 Mbit/s.
 */
export const RELAY_WINDOW = 512 * 1024

/** What a relay does now. */
export interface RelayLoad {
  reservations: number
  circuits: number
  /** Bytes carried since the start, counted once. */
  bytes: number
  /** Bytes queued now, over all circuits. */
  queued: number
}

/** libp2p's server as it is at run time; its class is not exported. */
interface Server extends CircuitRelayService, Startable {
  reservationStore: { removeReservation(peer: Connection['remotePeer']): void }
  handleConnect(hop: Hop, options: { signal?: AbortSignal }): Promise<void>
  stopHop(stop: { connection: Connection }, options: { signal?: AbortSignal }): Promise<Stream | undefined>
}

interface Hop {
  connection: Connection
  stream: { unwrap(): Stream }
}

/** One end of a circuit. */
interface End {
  connection: Connection
  stream: Stream
}

/** The components a relay needs of libp2p: the server's, and the events that tell of closed connections. */
type Components = CircuitRelayServerComponents & { events: EventTarget }

export interface RelayServer {
  /** A service for libp2p's `services`. */
  readonly service: (components: Components) => CircuitRelayService
  load(): RelayLoad
}

export function createRelayServer(limits: RelayLimits): RelayServer {
  const circuits = new Circuits(limits)
  let server: Server | undefined
  return {
    service: (components) => {
      const gater: ConnectionGater = {
        ...components.connectionGater,
        denyOutboundRelayedConnection: (source, destination) =>
          circuits.isFull(source.toString(), destination.toString()),
      }
      const made = circuitRelayServer({
        hopTimeout: HOP_TIMEOUT,
        maxInboundHopStreams: limits.circuitsPerPeer,
        maxOutboundStopStreams: limits.circuitsPerPeer,
        reservations: {
          maxReservations: limits.reservations,
          reservationTtl: RESERVATION_TTL,
          applyDefaultLimit: false,
        },
      })(Object.create(components, { connectionGater: { value: gater } })) as Server
      server = made
      const { handleConnect } = made
      made.handleConnect = (hop, options) => {
        // The server as it is, but for the two steps that yield the ends of the circuit: it joins them right after the second.
        let destination: { connection: Connection; stream: Stream } | undefined
        const stopHop: Server['stopHop'] = async (stop, given) => {
          const stream = await made.stopHop(stop, given)
          if (stream !== undefined) destination = { connection: stop.connection, stream }
          return stream
        }
        const unwrap = (): Stream => {
          const stream = hop.stream.unwrap()
          if (destination !== undefined) circuits.add({ connection: hop.connection, stream }, destination)
          return stream
        }
        const watched = { ...hop, stream: Object.create(hop.stream, { unwrap: { value: unwrap } }) }
        return handleConnect.call(Object.create(made, { stopHop: { value: stopHop } }), watched, options)
      }
      // The place of a peer that is gone is free at once.
      components.events.addEventListener('peer:disconnect', (event) => {
        made.reservationStore.removeReservation((event as CustomEvent<Connection['remotePeer']>).detail)
      })
      return made
    },
    load: () => ({ reservations: server?.reservations.size ?? 0, ...circuits.load() }),
  }
}

/** The circuits that are open, and the flow through each. */
class Circuits {
  readonly #limits: RelayLimits
  /** Circuits by peer; bounded by the connections. */
  readonly #perPeer = new Map<string, number>()
  #open = 0
  #bytes = 0
  #queued = 0

  constructor(limits: RelayLimits) {
    this.#limits = limits
  }

  isFull(source: string, destination: string): boolean {
    const { circuits, circuitsPerPeer } = this.#limits
    const busy = (peer: string): boolean => (this.#perPeer.get(peer) ?? 0) >= circuitsPerPeer
    return this.#open >= circuits || busy(source) || busy(destination)
  }

  load(): Omit<RelayLoad, 'reservations'> {
    return { circuits: this.#open, bytes: this.#bytes, queued: this.#queued }
  }

  add(from: End, to: End): void {
    const peers = [from.connection.remotePeer.toString(), to.connection.remotePeer.toString()]
    this.#open++
    for (const peer of peers) this.#perPeer.set(peer, (this.#perPeer.get(peer) ?? 0) + 1)
    const flows = [this.#bound(from.stream, to.stream), this.#bound(to.stream, from.stream)]
    let open = true
    const close = (): void => {
      if (!open) return
      open = false
      this.#open--
      for (const drop of flows) drop()
      for (const peer of peers) {
        const left = (this.#perPeer.get(peer) ?? 1) - 1
        if (left === 0) this.#perPeer.delete(peer)
        else this.#perPeer.set(peer, left)
      }
    }
    from.stream.addEventListener('close', close, { once: true })
    to.stream.addEventListener('close', close, { once: true })
  }

  /** Pauses one stream while what it has brought is not yet with the other. Returns how to stop counting. */
  #bound(from: Stream, to: Stream): () => void {
    let queued = 0
    let due = false
    let open = true
    const queue = (bytes: number): void => {
      queued += bytes
      if (!open) return
      this.#queued += bytes
      if (due || (bytes > 0 ? queued <= PAUSE_AT : queued >= RESUME_AT)) return
      due = true
      // Later: a stream that is paused by a listener of what its own resuming brought is never paused in the muxer.
      queueMicrotask(() => {
        due = false
        if (!open || from.status !== 'open') return
        if (queued > PAUSE_AT && from.readStatus === 'readable') from.pause()
        else if (queued < RESUME_AT && from.readStatus === 'paused') from.resume()
      })
    }
    from.addEventListener('message', ({ data }: StreamMessageEvent) => {
      this.#bytes += data.byteLength
      queue(data.byteLength)
    })
    const send = to.send.bind(to)
    to.send = (data) => {
      queue(-data.byteLength)
      return send(data)
    }
    return () => {
      open = false
      this.#queued -= queued
    }
  }
}
