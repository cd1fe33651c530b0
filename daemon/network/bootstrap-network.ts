/**
 * The network of a bootstrap node: a node without a run, which introduces peers of any run to each other, relays for those that cannot be dialled, and
 * serves a DHT where one is named.
 *
 * It answers the hello that peers say to each other: for whatever run, with the peers that said hello for it lately. So a hello is at once the
 * registration, proven by the connection's handshake, and the question; and a peer need not know beforehand what kind of node an address leads to.
 */
import type { PrivateKey } from '@libp2p/interface'
import { type PeerName, StarlingError, seededRandom } from '../../protocols/index.ts'
import { announced, parseAddress, peerOf, tryAddress } from './addresses.ts'
import { AskService } from './ask.ts'
import { systemClock } from './clock.ts'
import { peerOver } from './connections.ts'
import { Counters } from './counters.ts'
import { DialScope } from './dial-scope.ts'
import { type DhtOptions, Registry, type RegistryCounts, type RegistryLimits } from './discovery/index.ts'
import { Fellows, NO_RUN } from './fellows.ts'
import { createGater } from './gater.ts'
import {
  HELLO,
  type Hello,
  hello,
  MAX_BOOTSTRAPS,
  MAX_INTRODUCED,
  PROTOCOL_VERSION,
  readHello,
  sayable,
} from './hello.ts'
import { createHost, type Host } from './host.ts'
import { peerNameOf } from './identity.ts'
import { Ledger } from './ledger.ts'
import { listenFailed } from './listening.ts'
import { Places, servicePlaceLimits } from './places.ts'
import {
  answerDialBack,
  createRelayServer,
  DEFAULT_RELAY_LIMITS,
  type RelayLimits,
  type RelayLoad,
  type RelayServer,
} from './reachability/index.ts'
import type { Ban, BanStore, BootstrapStatus, NetworkCounters, NetworkLog, RejectReason } from './types.ts'

/** Peers connected at once by default; libp2p lets go of the least useful beyond about twice as many connections. */
const DEFAULT_MAX_PEERS = 512
/** How often libp2p checks that a connection is alive, milliseconds. */
const PING = 20_000
/** Value of a peer that said hello to libp2p, which closes connections of those without first when there are too many; and for how long, milliseconds. */
const GREETED = { value: 50, ttl: 5 * 60_000 }
/** How often it looks whether it has a new address, milliseconds. */
const ADDRESSES_EVERY = 60_000
/** Closing politely must not hold up the end, milliseconds. */
const STOP_TIMEOUT = 3_000

export interface BootstrapNetworkOptions {
  identity: PrivateKey
  listen: readonly string[]
  announce?: readonly string[]
  /** Other bootstrap nodes of the same network. */
  bootstrap?: readonly string[]
  /** Serve this DHT: never the public one. */
  dht?: Pick<DhtOptions, 'protocol' | 'private'>
  relay?: Partial<RelayLimits>
  registry?: RegistryLimits
  maxPeers?: number
  bans?: BanStore
  log: NetworkLog
}

/** What a bootstrap node does now and did since its start. */
export interface BootstrapLoad {
  connections: number
  registry: RegistryCounts
  relay: RelayLoad
  /** Nodes of the DHT that it knows, if it serves one. */
  dht?: { table: number }
  network: NetworkCounters
  bans: Ban[]
  fellows: BootstrapStatus[]
}

export class BootstrapNetwork {
  readonly self: PeerName
  readonly #options: BootstrapNetworkOptions
  readonly #counters = new Counters()
  readonly #ledger: Ledger
  readonly #relay: RelayServer
  readonly #registry: Registry
  #host!: Host
  #asks!: AskService
  #places!: Places
  #fellows!: Fellows
  /** Connected peers that said hello: bounded by the connections. */
  readonly #greeted = new Set<PeerName>()
  #addressTimer: NodeJS.Timeout | undefined
  #stopping: Promise<void> | undefined

  private constructor(options: BootstrapNetworkOptions) {
    this.#options = options
    this.self = peerNameOf(options.identity)
    this.#relay = createRelayServer({ ...DEFAULT_RELAY_LIMITS, ...options.relay })
    const random = seededRandom(this.self, 'registry', String(systemClock.now()))
    this.#registry = new Registry({ now: systemClock.now, random }, options.registry)
    this.#ledger = new Ledger({
      clock: systemClock,
      log: options.log,
      store: options.bans,
      rejected: (peer, reason, detail) => this.#rejected(peer, reason, detail),
      disconnect: (peer, proven) => {
        if (proven) this.#places.blame(peer)
        void this.#disconnect(peer)
      },
      banned: () => {},
    })
  }

  /**
   * Makes the node and starts it; when the signal aborts, it stops. Throws 'bad-address' for a multiaddr that cannot be read and 'listen-failed' when no
   * address can be listened on.
   */
  static async start(options: BootstrapNetworkOptions, signal?: AbortSignal): Promise<BootstrapNetwork> {
    signal?.throwIfAborted()
    const network = new BootstrapNetwork(options)
    await network.#start()
    signal?.addEventListener('abort', () => void network.stop(), { once: true })
    return network
  }

  async #start(): Promise<void> {
    const { identity, listen, announce = [], dht, bootstrap = [], log, maxPeers = DEFAULT_MAX_PEERS } = this.#options
    const places = new Places(servicePlaceLimits(maxPeers), systemClock, (peer) => this.#ledger.isGood(peer))
    this.#places = places
    const scope = new DialScope({ listen, dialPrivate: undefined, now: systemClock.now })
    for (const address of bootstrap) scope.name(parseAddress(address))
    this.#host = await createHost({
      identity,
      run: NO_RUN,
      listen,
      announce,
      maxPeers,
      pingInterval: PING,
      relayServer: this.#relay,
      autonat: true,
      gater: createGater({
        self: this.self,
        admission: { kind: 'open' },
        ledger: this.#ledger,
        places,
        isService: () => false,
        mayDial: (address) => scope.allows(address),
        refused: (reason, detail) => this.#refused(reason, detail),
      }),
      metrics: this.#counters.metrics(),
      refused: (detail, muxer) => {
        const peer = peerOver(this.#host, muxer)
        if (peer === undefined) this.#refused('malformed-frame', detail)
        else this.#ledger.reject(peer, 'malformed-frame', detail)
      },
      ...(dht === undefined ? {} : { dht: { ...dht, mode: 'server', bootstrap: [] } }),
    })
    const parts = { ledger: this.#ledger, counters: this.#counters, clock: systemClock, log }
    this.#asks = new AskService({
      ...parts,
      libp2p: this.#host,
      introduction: HELLO,
      introduced: async (peer) => this.#greeted.has(peer),
      reach: async () => {
        throw new StarlingError('peer-unreachable', 'a bootstrap node dials nobody to ask it')
      },
    })
    this.#asks.answer(HELLO, (peer, question) => this.#answer(peer, question))
    answerDialBack(this.#asks, this.#host, systemClock)
    this.#fellows = new Fellows({
      libp2p: this.#host,
      ask: this.#asks,
      addresses: bootstrap.map(parseAddress).filter((address) => peerOf(address) !== this.self),
      self: this.self,
      mine: () => this.#hello(NO_RUN, []),
      clock: systemClock,
      random: seededRandom(this.self, 'fellows'),
      log,
    })
    await this.#ledger.load()
    await this.#asks.start()
    this.#host.addEventListener('peer:disconnect', this.#onDisconnect)
    try {
      await this.#host.start()
    } catch (error) {
      await this.stop()
      throw listenFailed(listen, error)
    }
    this.#host.services.own.assume()
    this.#addressTimer = setInterval(() => this.#host.services.own.assume(), ADDRESSES_EVERY)
    this.#fellows.start()
  }

  /** Closes everything in reverse order; the second call waits for the first. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    const { log } = this.#options
    clearInterval(this.#addressTimer)
    await this.#fellows.stop()
    this.#host.removeEventListener('peer:disconnect', this.#onDisconnect)
    await this.#asks.stop()
    const late = setTimeout(() => {
      for (const connection of this.#host.getConnections()) connection.abort(new Error('the node is stopping'))
    }, STOP_TIMEOUT)
    try {
      await this.#host.stop()
    } catch (error) {
      log.warn({ error: (error as Error).message }, 'libp2p did not stop cleanly')
    } finally {
      clearTimeout(late)
    }
    await this.#ledger.flush()
  }

  /** Multiaddrs by which others reach this node, each ending in /p2p/<self>. */
  addresses(): string[] {
    return announced(this.#host.getMultiaddrs())
  }

  load(): BootstrapLoad {
    const { dht } = this.#host.services
    const connections = this.#host.getConnections().length
    return {
      connections,
      registry: this.#registry.counts(),
      relay: this.#relay.load(),
      ...(dht === undefined ? {} : { dht: { table: dht.routingTable.size } }),
      network: this.#counters.snapshot(connections),
      bans: this.#ledger.bans(),
      fellows: this.#fellows.status(),
    }
  }

  #answer(peer: PeerName, question: Uint8Array): Uint8Array {
    let said: Hello
    try {
      said = readHello(question, peer, this.self)
    } catch (error) {
      const { code, message } = error as StarlingError
      this.#ledger.reject(peer, code === 'other-version' ? code : 'malformed-frame', message)
      throw error
    }
    this.#places.settle(peer)
    if (said.role === 'bootstrap') return hello.encode(this.#hello(said.run, []))
    // What nobody could dial is not kept; whether anybody is there is for those to find out who want to dial it.
    const addresses = said.addresses.filter((text) => {
      const address = tryAddress(text)
      return address !== undefined && (peerOf(address) ?? peer) === peer
    })
    this.#registry.register(said.run, peer, addresses)
    this.#keep(peer)
    return hello.encode(this.#hello(said.run, this.#registry.peersOf(said.run, peer, MAX_INTRODUCED)))
  }

  #hello(run: string, peers: Hello['peers']): Hello {
    const bootstraps = this.#fellows.connected().slice(0, MAX_BOOTSTRAPS)
    const addresses = sayable(this.addresses())
    return { version: PROTOCOL_VERSION, run, role: 'bootstrap', addresses, peers, bootstraps }
  }

  /** Who uses this node stays connected rather than who does not. */
  #keep(peer: PeerName): void {
    const connection = this.#host.getConnections().find((one) => one.remotePeer.toString() === peer)
    if (connection === undefined) return
    this.#greeted.add(peer)
    this.#host.peerStore.merge(connection.remotePeer, { tags: { 'starling-greeted': GREETED } }).catch((error) => {
      this.#options.log.debug({ peer, error: (error as Error).message }, 'a peer could not be tagged')
    })
  }

  readonly #onDisconnect = ({ detail }: CustomEvent<{ toString(): string }>): void => {
    this.#greeted.delete(detail.toString())
    this.#asks.forget(detail.toString())
  }

  async #disconnect(peer: PeerName): Promise<void> {
    for (const connection of this.#host.getConnections()) {
      if (connection.remotePeer.toString() === peer) connection.abort(new Error('it broke the rules'))
    }
  }

  #rejected(peer: PeerName, reason: RejectReason, detail: string): void {
    this.#counters.rejected(reason)
    this.#options.log.debug({ peer, reason, detail }, 'rejected')
  }

  /** Something was refused of which nobody knows whose it was. */
  #refused(reason: RejectReason, detail: string): void {
    this.#counters.rejected(reason)
    this.#options.log.debug({ reason, detail }, 'rejected')
  }
}
