/** The other end of circuit relay v2: being reached through relays, and dialling others through theirs. */
import {
  type CircuitRelayTransportComponents,
  circuitRelayTransport,
  RELAY_V2_HOP_CODEC,
  RELAY_V2_STOP_CODEC,
} from '@libp2p/circuit-relay-v2'
import type { Libp2p, PeerId, Transport } from '@libp2p/interface'
import type { Clock, PeerName, Random } from '../../../protocols/index.ts'
import { backOff } from '../back-off.ts'
import type { NetworkLog } from '../types.ts'

/** The protocols whose streams carry relayed connections. */
export const RELAY_PROTOCOLS = [RELAY_V2_HOP_CODEC, RELAY_V2_STOP_CODEC] as const
/** Relays a node is reachable through at once: one may die. */
export const WANTED_RELAYS = 2
/** Asking for a reservation, milliseconds. */
const RESERVE_TIMEOUT = 5_000
/** Pause after a relay refused or did not answer, and the longest, milliseconds. */
const PAUSE = 5_000
const MAX_PAUSE = 120_000

/** libp2p's transport as it is at run time; its class is not exported. */
interface CircuitTransport extends Transport {
  reservationStore: {
    addRelay(peer: PeerId, type: 'discovered'): Promise<unknown>
    reservations: { keys(): IterableIterator<PeerId> }
  }
  discovery: { startDiscovery(): void }
}

export interface RelayClientParts {
  clock: Clock
  random: Random
  log: NetworkLog
  /** Whether a peer may be our relay: strangers' relays are not used. */
  trusts(peer: PeerName): boolean
  /** Whether this node wants to be reached through relays now. */
  wanted(): boolean
}

/** Keeps reservations on up to {@link WANTED_RELAYS} of the connected relays that are trusted. libp2p renews them. */
export class RelayClient {
  /** A transport for libp2p's `transports`. */
  readonly transport: (components: CircuitRelayTransportComponents) => Transport
  #parts: RelayClientParts | undefined
  #transport: CircuitTransport | undefined
  /** Connected peers that serve as relays; bounded by the connections. */
  readonly #serving = new Map<PeerName, { id: PeerId; failures: number; next: number }>()
  #asking = false
  readonly reserves: boolean

  /** Without `reserves`, it only dials others through their relays. */
  constructor(reserves: boolean) {
    this.reserves = reserves
    this.transport = (components) => {
      const transport = circuitRelayTransport({
        reservationCompletionTimeout: RESERVE_TIMEOUT,
        discoveryFilter: { has: () => true, add: () => {}, remove: () => {} },
      })(components) as CircuitTransport
      // libp2p would walk the DHT and take any relay that it finds; which ones are asked is decided here.
      transport.discovery.startDiscovery = () => {}
      this.#transport = transport
      return transport
    }
  }

  /** Watches for relays among the connected peers. */
  async start(libp2p: Libp2p, parts: RelayClientParts): Promise<void> {
    this.#parts = parts
    await libp2p.register(RELAY_V2_HOP_CODEC, {
      onConnect: (id) => {
        if (this.#serving.has(id.toString())) return
        this.#serving.set(id.toString(), { id, failures: 0, next: 0 })
        this.look()
      },
      onDisconnect: (id) => {
        this.#serving.delete(id.toString())
      },
    })
  }

  /** Peers through which this node can be reached now. */
  relays(): PeerName[] {
    return [...(this.#transport?.reservationStore.reservations.keys() ?? [])].map(String)
  }

  /** Connected peers that serve as relays. */
  serving(): PeerName[] {
    return [...this.#serving.keys()]
  }

  /** Asks one relay for a reservation if one more is wanted. Returns at once. */
  look(): void {
    const parts = this.#parts
    if (parts === undefined || !this.reserves || this.#asking || !parts.wanted()) return
    const relays = new Set(this.relays())
    if (relays.size >= WANTED_RELAYS) return
    const now = parts.clock.now()
    const candidate = [...this.#serving]
      .filter(([peer, { next }]) => next <= now && !relays.has(peer) && parts.trusts(peer))
      .sort(([, a], [, b]) => a.failures - b.failures)[0]
    if (candidate !== undefined) void this.#ask(...candidate, parts)
  }

  async #ask(
    peer: PeerName,
    relay: { id: PeerId; failures: number; next: number },
    { clock, random, log }: RelayClientParts,
  ): Promise<void> {
    this.#asking = true
    try {
      await this.#transport?.reservationStore.addRelay(relay.id, 'discovered')
      relay.failures = 0
      log.info({ relay: peer }, 'reachable through a relay')
    } catch (error) {
      relay.failures++
      relay.next = clock.now() + backOff(relay.failures, PAUSE, MAX_PAUSE, random)
      log.debug({ relay: peer, error: (error as Error).message }, 'a relay gives no reservation')
    } finally {
      this.#asking = false
    }
    this.look()
  }
}
