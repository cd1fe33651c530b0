/** What a node does to be reached, and to reach others that nobody can dial: its addresses, its relays, direct connections in place of relayed ones. */
import type { Connection } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { Clock, PeerName, Random } from '../../../protocols/index.ts'
import { announced, hostOf, isLoopback, isPrivateAddress, isRelayed } from '../addresses.ts'
import type { AskService } from '../ask.ts'
import type { Counters } from '../counters.ts'
import type { Host } from '../host.ts'
import type { NetworkLog, NetworkOptions, Reachability } from '../types.ts'
import { answerDialBack } from './dial-back.ts'
import { Prober } from './prober.ts'
import { RelayClient } from './relay-client.ts'
import { createRelayServer, DEFAULT_RELAY_LIMITS, type RelayLoad, type RelayServer } from './relay-server.ts'
import { reportReachability } from './report.ts'
import { Upgrades } from './upgrades.ts'

/** Addresses of relays from which many peers may come; further ones count as any other address does. */
const MAX_SHARED = 64

export interface ConnectivityParts {
  clock: Clock
  random: Random
  log: NetworkLog
  counters: Counters
  ask: AskService
  /** Connected bootstrap nodes and peers of the run. */
  peers(): { services: readonly PeerName[]; others: readonly PeerName[] }
  /** There is something new to tell. */
  changed(reachability: Reachability): void
  /** Addresses known of a peer. */
  known(peer: PeerName): Multiaddr[]
  /** Whether a peer may be our relay. */
  trusts(peer: PeerName): boolean
  /** What is asked of a peer next should go over its best connection. */
  moved(peer: PeerName): void
  signal: AbortSignal
}

export class Connectivity {
  readonly server: RelayServer | undefined
  readonly client: RelayClient | undefined
  /** Hosts of relays: many peers come from them, which is not held against any. Bounded by MAX_SHARED. */
  readonly #shared: Set<string>
  #host: Host | undefined
  #parts: ConnectivityParts | undefined
  #upgrades: Upgrades | undefined
  #prober: Prober | undefined
  #told = ''
  readonly #options: Pick<NetworkOptions, 'relay' | 'upnp'>

  constructor(options: Pick<NetworkOptions, 'relay' | 'upnp'>, shared: Set<string>) {
    const { relay } = options
    this.#options = options
    const serve = relay?.serve ?? false
    this.server =
      serve === false ? undefined : createRelayServer({ ...DEFAULT_RELAY_LIMITS, ...(serve === true ? {} : serve) })
    this.client = relay === undefined ? undefined : new RelayClient(relay.use === true)
    this.#shared = shared
  }

  async start(host: Host, parts: ConnectivityParts): Promise<void> {
    this.#host = host
    this.#parts = parts
    const { clock, random, log, trusts, counters, ask } = parts
    this.#upgrades = new Upgrades({
      ...parts,
      libp2p: host,
      dialled: (success) => {
        counters.dials++
        if (!success) counters.dialFailures++
      },
    })
    this.#prober = new Prober({ ...parts, libp2p: host, own: host.services.own, changed: () => this.#tell() })
    answerDialBack(ask, host, clock)
    host.services.own.assume()
    host.addEventListener('connection:open', this.#onOpen)
    host.addEventListener('connection:close', this.#onClose)
    await this.client?.start(host, { clock, random, log, trusts, wanted: () => true })
  }

  stop(): void {
    this.#host?.removeEventListener('connection:open', this.#onOpen)
    this.#host?.removeEventListener('connection:close', this.#onClose)
  }

  /** Looks for something to do; called every heartbeat. */
  look(): void {
    this.#host?.services.own.assume()
    this.client?.look()
    this.#upgrades?.look()
    this.#prober?.look()
    this.#tell()
  }

  /** Whether others can dial this node, as far as it knows. */
  report(): Reachability {
    const host = this.#host
    const own = host?.services.own.listening() ?? []
    return reportReachability({
      listening: own.map((address) => ({
        address: address.toString(),
        port: address.getComponents().find(({ name }) => name === 'tcp')?.value,
        loopback: isLoopback(address),
        private: isPrivateAddress(address),
      })),
      addresses: announced(host?.getMultiaddrs() ?? []),
      relays: this.relays(),
      ...(this.#prober?.findings() ?? { askers: 0, reached: [], seenAt: [] }),
      relay: this.client?.reserves === true,
      upnp: this.#options.upnp === true,
    })
  }

  #tell(): void {
    const report = this.report()
    const text = JSON.stringify(report)
    if (text === this.#told) return
    this.#told = text
    this.#parts?.changed(report)
  }

  /** Peers through which this node can be reached. */
  relays(): PeerName[] {
    return this.client?.relays() ?? []
  }

  /** What this node does as a relay, if it is one. */
  load(): RelayLoad | undefined {
    return this.server?.load()
  }

  readonly #onOpen = ({ detail: { remoteAddr } }: CustomEvent<Connection>): void => {
    if (!isRelayed(remoteAddr) || this.#shared.size >= MAX_SHARED) return
    const host = hostOf(remoteAddr)
    if (host !== undefined) this.#shared.add(host)
  }

  /**
   * One of several connections with a peer was closed. The gossip router had its stream perhaps on that one, and opens another only when it is told of
   * a connection, which identifying the peer once more does.
   */
  readonly #onClose = ({ detail: { remotePeer } }: CustomEvent<Connection>): void => {
    const host = this.#host
    const parts = this.#parts
    if (host === undefined || parts === undefined || parts.signal.aborted) return
    const left = host.getConnections(remotePeer).filter(({ status }) => status === 'open')
    const best = left.findLast(({ remoteAddr }) => !isRelayed(remoteAddr)) ?? left.at(-1)
    if (best === undefined) return
    parts.moved(remotePeer.toString())
    host.services.identify.identify(best).catch((error: Error) => {
      parts.log.debug({ peer: remotePeer.toString(), error: error.message }, 'a peer could not be identified again')
    })
  }
}
