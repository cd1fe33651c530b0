/** What a node does to be reached, and to reach others that nobody can dial: its addresses, its relays, direct connections in place of relayed ones. */
import type { Connection } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { Clock, PeerName, Random } from '../../../protocols/index.ts'
import { announced, hostOf, isLoopback, isPrivateAddress, isRelayed } from '../addresses.ts'
import type { AskService } from '../ask.ts'
import { bestOf, connectionsWith } from '../connections.ts'
import type { Counters } from '../counters.ts'
import type { Host } from '../host.ts'
import { PortForwarding } from '../router/index.ts'
import type { NetworkLog, NetworkOptions, Reachability } from '../types.ts'
import { answerDialBack } from './dial-back.ts'
import { Prober } from './prober.ts'
import { RelayClient } from './relay-client.ts'
import { createRelayServer, DEFAULT_RELAY_LIMITS, type RelayLoad, type RelayServer } from './relay-server.ts'
import { reportReachability } from './report.ts'
import { Upgrades } from './upgrades.ts'
import { WakeWatch, type Woken } from './wake.ts'
import { useWebRtc } from './webrtc.ts'

/** Addresses of relays from which many peers may come; further ones count as any other address does. */
const MAX_SHARED = 64
/** Time for a peer to show that it is still there, milliseconds. */
const CHECK_TIMEOUT = 5_000

export interface ConnectivityParts {
  self: PeerName
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
  /** The machine slept or is in another network: whoever is known should be dialled again at once. */
  woken(): void
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
  #router: PortForwarding | undefined
  #told = ''
  readonly #wake = new WakeWatch()
  readonly #options: Pick<NetworkOptions, 'relay' | 'upnp' | 'webrtc'>
  #release: (() => Promise<void>) | undefined

  constructor(options: Pick<NetworkOptions, 'relay' | 'upnp' | 'webrtc'>, shared: Set<string>) {
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
    if (this.#options.webrtc !== undefined) this.#release = useWebRtc()
    this.#prober = new Prober({ ...parts, libp2p: host, own: host.services.own, changed: () => this.#tell() })
    if (this.#options.upnp === true) this.#router = this.#forwarding(host, parts)
    answerDialBack(ask, host, clock)
    host.services.own.assume()
    host.addEventListener('connection:open', this.#onOpen)
    host.addEventListener('connection:close', this.#onClose)
    await this.client?.start(host, { clock, random, log, trusts, wanted: () => !this.#isPublic() })
  }

  stop(): void {
    this.#host?.removeEventListener('connection:open', this.#onOpen)
    this.#host?.removeEventListener('connection:close', this.#onClose)
  }

  /** Frees what outlives libp2p; called when that has stopped. */
  async release(): Promise<void> {
    await this.#router?.stop()
    await this.#release?.()
  }

  /** Looks for something to do; called every heartbeat. */
  look(): void {
    const woken = this.#wake.look()
    if (woken !== undefined) void this.#check(woken)
    this.#host?.services.own.assume()
    this.client?.look()
    this.#upgrades?.look()
    this.#router?.look()
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
      router: this.#router?.report(),
    })
  }

  #forwarding(host: Host, parts: ConnectivityParts): PortForwarding {
    const { own } = host.services
    return new PortForwarding({
      ...parts,
      listening: () => own.listening(),
      began: (port) => {
        own.forwarded(port)
        this.#prober?.again()
      },
      ended: (port) => {
        own.unforwarded(port)
        this.#prober?.again()
      },
    })
  }

  /** Gives up connections that do not answer, then lets everybody be dialled. */
  async #check(woken: Woken): Promise<void> {
    const { log, woken: tell, signal } = this.#parts as ConnectivityParts
    const host = this.#host as Host
    const why = woken === 'slept' ? 'this machine slept' : 'the addresses of this machine have changed'
    log.warn({ connections: host.getConnections().length }, `${why}; connections are checked`)
    this.#router?.moved()
    await Promise.all(
      host.getPeers().map(async (peer) => {
        try {
          await host.services.ping.ping(peer, { signal: AbortSignal.any([signal, AbortSignal.timeout(CHECK_TIMEOUT)]) })
        } catch (error) {
          for (const connection of host.getConnections(peer)) connection.abort(error as Error)
        }
      }),
    )
    if (!signal.aborted) tell()
  }

  #isPublic(): boolean {
    return this.#prober?.findings().reached.some((one) => !one.private) === true
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
    const best = bestOf(connectionsWith(host, remotePeer.toString()))
    if (best === undefined) return
    parts.moved(remotePeer.toString())
    host.services.identify.identify(best).catch((error: Error) => {
      parts.log.debug({ peer: remotePeer.toString(), error: error.message }, 'a peer could not be identified again')
    })
  }
}
