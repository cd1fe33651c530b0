/** Puts the parts of the network together and gives them their lifecycle. */
import {
  type Answerer,
  type AskOptions,
  type PeerName,
  type Random,
  StarlingError,
  seededRandom,
  type TopicHandler,
} from '../../protocols/index.ts'
import { announced, isPrivateAddress, isRelayed, linkKind, parseAddress } from './addresses.ts'
import { Admittance } from './admission.ts'
import { AskService } from './ask.ts'
import { systemClock } from './clock.ts'
import { Counters } from './counters.ts'
import { DialScope } from './dial-scope.ts'
import { Finder } from './discovery/index.ts'
import { createGater } from './gater.ts'
import { Gossip, gossipOptions, SharedAddresses } from './gossip.ts'
import { HELLO, type Hello, MAX_INTRODUCED, PROTOCOL_VERSION, sayable } from './hello.ts'
import { createHost, type Host } from './host.ts'
import { peerNameOf, verifySignature } from './identity.ts'
import { Introductions } from './introductions.ts'
import { Ledger } from './ledger.ts'
import { listenFailed } from './listening.ts'
import { DEFAULT_EXPLORE, PeerManager } from './peers.ts'
import { Places, placeLimits } from './places.ts'
import { Reach } from './reach.ts'
import { Connectivity } from './reachability/index.ts'
import type {
  Ban,
  BootstrapStatus,
  Link,
  Network,
  NetworkCounters,
  NetworkEvent,
  NetworkLog,
  NetworkOptions,
  Reachability,
  RejectReason,
  Standing,
} from './types.ts'

/** A swarm up to this size is fully connected. */
const DEFAULT_TARGET = 12
const DEFAULT_MAX = 48
const DEFAULT_HEARTBEAT = 1_000
/** Often enough to find a dead line within half a minute. */
const DEFAULT_PING = 10_000
/** Bootstrap nodes that others named, kept beside those that the user named; and addresses of each. */
const MAX_NAMED_NODES = 8
const MAX_NODE_ADDRESSES = 2
/** Longest wait for a peer to say what protocols it speaks, milliseconds: identification runs beside the hello. */
const IDENTIFY_TIMEOUT = 3_000
/** Closing politely must not hold up the daemon's end, milliseconds. */
const STOP_TIMEOUT = 3_000

const SILENT: NetworkLog = { debug: () => {}, info: () => {}, warn: () => {} }

/**
 * Builds a node; nothing is listened on before `start`. When the signal aborts, the network stops.
 *
 * Throws 'bad-address' for a multiaddr that cannot be read.
 */
export async function createNetwork(options: NetworkOptions, signal?: AbortSignal): Promise<Network> {
  return createLibp2pNetwork(options, signal)
}

/** As {@link createNetwork}, with the parts at hand. */
export async function createLibp2pNetwork(options: NetworkOptions, signal?: AbortSignal): Promise<Libp2pNetwork> {
  signal?.throwIfAborted()
  const network = new Libp2pNetwork(options)
  await network.init()
  signal?.addEventListener('abort', () => void network.stop(), { once: true })
  return network
}

/** The network behind the interface; its parts are open to the tests of this folder only. */
export class Libp2pNetwork implements Network {
  readonly self: PeerName
  readonly clock = systemClock
  readonly #options: NetworkOptions
  readonly #log: NetworkLog
  readonly #counters = new Counters()
  readonly #ledger: Ledger
  readonly #closing = new AbortController()
  readonly #listeners = new Set<(event: NetworkEvent) => void>()
  readonly #connectionListeners = new Set<() => void>()
  host!: Host
  asks!: AskService
  #gossip!: Gossip
  #places!: Places
  #introductions!: Introductions
  #peers!: PeerManager
  #reach!: Reach
  #admittance!: Admittance
  #finder: Finder | undefined
  /** Bootstrap nodes that others named; at most MAX_NAMED_NODES. */
  readonly #namedNodes = new Set<PeerName>()
  readonly #connectivity: Connectivity
  readonly #sharedAddresses = new SharedAddresses()
  #started = false
  #stopping: Promise<void> | undefined

  constructor(options: NetworkOptions) {
    this.#options = options
    this.#log = options.log ?? SILENT
    this.self = peerNameOf(options.identity)
    this.#connectivity = new Connectivity(options, this.#sharedAddresses)
    this.#ledger = new Ledger({
      clock: this.clock,
      log: this.#log,
      store: options.bans,
      rejected: (peer, reason, detail) => this.#rejected(peer, reason, detail),
      disconnect: (peer) => void this.disconnect(peer),
      banned: (ban) => this.#emit({ kind: 'banned', peer: ban.peer, until: ban.until, detail: ban.reason }),
    })
  }

  async init(): Promise<void> {
    const {
      identity,
      run,
      topics,
      listen,
      announce = [],
      admission = { kind: 'open' },
      maxPeers = DEFAULT_MAX,
      dht,
      preSharedKey,
    } = this.#options
    const { clock } = this
    const limits = { ...placeLimits(maxPeers), ...this.#options.limits }
    const places = new Places(limits, clock, (peer) => this.#ledger.isGood(peer) || this.#peers.isKept(peer))
    const scope = new DialScope({ listen, dialPrivate: this.#options.dialPrivate, now: () => clock.now() })
    this.#places = places
    this.#admittance = new Admittance({ self: this.self, run, admission, preSharedKey })
    // Where everybody may take part, gossip need not wait for hellos.
    const admitted = preSharedKey === undefined ? undefined : (peer: PeerName) => this.#introductions.has(peer)
    this.host = await createHost({
      identity,
      run,
      listen,
      announce,
      maxPeers,
      pingInterval: this.#options.pingMilliseconds ?? DEFAULT_PING,
      mdns: this.#options.mdns ?? false,
      gossip: gossipOptions(run, topics, (peer) => this.#ledger.score(peer), this.#sharedAddresses, admitted),
      dht,
      relayServer: this.#connectivity.server,
      relayClient: this.#connectivity.client,
      autonat: this.#options.autonat,
      upnp: this.#options.upnp,
      dcutr: this.#options.dcutr,
      webrtc: this.#options.webrtc,
      gater: createGater({
        self: this.self,
        admission,
        ledger: this.#ledger,
        places,
        isService: (peer) => this.#introductions.services().includes(peer),
        mayDial: (address) => scope.allows(address),
        refused: (reason, detail) => this.#refused(reason, detail),
      }),
      metrics: this.#counters.metrics(),
      refused: (detail) => this.#refused('malformed-frame', detail),
    })
    const parts = { ledger: this.#ledger, counters: this.#counters, clock: this.clock, log: this.#log }
    const introduced = async (peer: PeerName): Promise<boolean> =>
      this.#introductions.has(peer) || this.#introductions.begin(peer)
    this.asks = new AskService({
      ...parts,
      libp2p: this.host,
      rates: this.#options.rates,
      introduced,
      introduction: HELLO,
      reach: (peer) => this.#reach.to(peer),
    })
    this.#gossip = new Gossip({ ...parts, router: this.host.services.pubsub, run, topics, admitted })
    this.#introductions = new Introductions({
      ...parts,
      self: this.self,
      run,
      ask: this.asks,
      mine: (peer) => this.#hello(peer),
      refusal: (peer, said) => this.#admittance.refusal(peer, said),
      protocols: (peer) => this.#protocols(peer),
      isDhtNode: (protocols) => dht !== undefined && protocols.includes(dht.protocol),
      isConnected: (peer) => this.#connections(peer).length > 0,
      chosen: (peer) => this.#connections(peer).some((one) => one.direction === 'outbound'),
      heard: (peer, said) => this.#heard(peer, said),
      introduced: (peer) => this.#joined(peer),
      departed: (peer) => this.#left(peer),
      stranger: (peer) => {
        this.#peers.avoid(peer)
        void this.disconnect(peer)
      },
      silent: (peer) => void this.disconnect(peer),
      signal: this.#closing.signal,
    })
    this.#peers = new PeerManager({
      ...parts,
      libp2p: this.host,
      self: this.self,
      introductions: this.#introductions,
      random: this.random('peer-manager'),
      emit: (event) => this.#emit(event),
      gone: (peer) => this.asks.forget(peer),
      relays: () => this.#connectivity.relays(),
      beat: () => this.#connectivity.look(),
      usedAt: (peer) => this.asks.usedAt(peer),
      target: this.#options.targetPeers ?? DEFAULT_TARGET,
      max: maxPeers,
      heartbeat: this.#options.heartbeatMilliseconds ?? DEFAULT_HEARTBEAT,
      explore: this.#options.exploreMilliseconds ?? DEFAULT_EXPLORE,
      scope,
      dialsRelays: this.#connectivity.client !== undefined,
      signal: this.#closing.signal,
    })
    this.#reach = new Reach({
      self: this.self,
      ask: this.asks,
      introductions: this.#introductions,
      clock: this.clock,
      random: this.random('reach'),
      addressesOf: (peer) => sayable(peer === this.self ? this.addresses() : this.#peers.addressesOf(peer)),
      known: (peer) => this.#peers.known(peer),
      isConnected: (peer) => this.#connections(peer).length > 0,
      usable: (peer, addresses) => this.#peers.usable(peer, addresses),
      dial: (peer, addresses) => this.#peers.connect(peer, addresses),
    })
    this.#peers.addBootstrap(this.#options.bootstrap ?? [])
  }

  async start(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    if (this.#started || this.#closing.signal.aborted) {
      throw new StarlingError('already-started', 'a network is started once; make a new one')
    }
    this.#started = true
    await this.#ledger.load()
    await this.asks.start()
    try {
      await this.host.start()
    } catch (error) {
      await this.stop()
      throw listenFailed(this.#options.listen, error)
    }
    await this.#connectivity.start(this.host, {
      self: this.self,
      woken: () => this.#peers.woken(),
      clock: this.clock,
      random: this.random('reachability'),
      log: this.#log,
      counters: this.#counters,
      known: (peer) => this.#peers.known(peer),
      ask: this.asks,
      peers: () => ({ services: this.#introductions.services(), others: this.connected() }),
      changed: (reachability) => this.#emit({ kind: 'reachability', reachability }),
      trusts: (peer) => this.#introductions.has(peer) || this.#introductions.services().includes(peer),
      moved: (peer) => this.asks.renew(peer),
      signal: this.#closing.signal,
    })
    this.#gossip.start()
    this.#peers.start()
    this.#finder = this.#createFinder()
    this.#finder?.start()
    if (signal?.aborted) {
      await this.stop()
      signal.throwIfAborted()
    }
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    this.#closing.abort(new StarlingError('aborted', 'the network is stopping'))
    if (!this.#started) return
    await this.#finder?.stop()
    this.#peers.stop()
    this.#connectivity.stop()
    this.#gossip.stop()
    await this.asks.stop()
    for (const connection of this.host.getConnections()) this.#introductions.forget(connection.remotePeer.toString())
    await this.#stopHost()
    await this.#connectivity.release()
    await this.#ledger.flush()
    this.#listeners.clear()
    this.#connectionListeners.clear()
  }

  async #stopHost(): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        for (const connection of this.host.getConnections()) connection.abort(new Error('the node is stopping'))
        resolve()
      }, STOP_TIMEOUT)
    })
    try {
      await Promise.race([this.host.stop(), late])
    } catch (error) {
      this.#log.warn({ error: (error as Error).message }, 'libp2p did not stop cleanly')
    } finally {
      clearTimeout(timer)
    }
  }

  random(purpose: string): Random {
    const seed = this.#options.seed
    return seed === undefined ? seededRandom(this.#options.run, this.self, purpose) : seededRandom(seed, purpose)
  }

  connected(): readonly PeerName[] {
    return this.#introductions.peers()
  }

  onConnections(listener: () => void): () => void {
    this.#connectionListeners.add(listener)
    return () => this.#connectionListeners.delete(listener)
  }

  publish(topic: string, data: Uint8Array, signal?: AbortSignal): Promise<number> {
    return this.#gossip.publish(topic, data, signal)
  }

  subscribe(topic: string, handler: TopicHandler): () => void {
    return this.#gossip.subscribe(topic, handler)
  }

  subscribers(topic: string): PeerName[] {
    return this.#gossip.subscribers(topic)
  }

  ask(peer: PeerName, method: string, question: Uint8Array, options?: AskOptions): Promise<Uint8Array> {
    return this.asks.ask(peer, method, question, options)
  }

  answer(method: string, answerer: Answerer): () => void {
    return this.asks.answer(method, answerer)
  }

  penalize(peer: PeerName, reason: string): void {
    this.#ledger.reject(peer, 'fault', reason)
  }

  async sign(data: Uint8Array): Promise<Uint8Array> {
    return this.#options.identity.sign(data)
  }

  verify(peer: PeerName, data: Uint8Array, signature: Uint8Array): Promise<boolean> {
    return verifySignature(peer, data, signature)
  }

  addresses(): string[] {
    return announced(this.host.getMultiaddrs())
  }

  reachability(): Reachability {
    return this.#connectivity.report()
  }

  addressesOf(peer: PeerName): string[] {
    return this.#peers.addressesOf(peer)
  }

  addBootstrap(addresses: readonly string[]): void {
    this.#peers.addBootstrap(addresses)
  }

  dial(address: string, signal?: AbortSignal): Promise<PeerName> {
    return this.#peers.dial(address, signal)
  }

  disconnect(peer: PeerName): Promise<void> {
    return this.#peers.disconnect(peer)
  }

  onEvent(listener: (event: NetworkEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  counters(): NetworkCounters {
    const relay = this.#connectivity.load()
    const dht = this.#finder?.counts()
    return {
      ...this.#counters.snapshot(this.connected().length),
      ...(relay === undefined ? {} : { relay }),
      ...(dht === undefined ? {} : { dht }),
    }
  }

  links(): Link[] {
    const open = this.host.getConnections().filter(({ status }) => status === 'open')
    return open.map(({ remotePeer, remoteAddr, direction }) => ({
      peer: remotePeer.toString(),
      direction,
      kind: linkKind(remoteAddr),
      address: remoteAddr.toString(),
    }))
  }

  bootstrap(): BootstrapStatus[] {
    return this.#peers.bootstrap()
  }

  bans(): Ban[] {
    return this.#ledger.bans()
  }

  standing(peer: PeerName): Standing {
    return this.#ledger.standing(peer)
  }

  scores(): { min: number; median: number; max: number } | undefined {
    const scores = this.connected()
      .map((peer) => this.#ledger.score(peer))
      .sort((a, b) => a - b)
    const [min, median, max] = [scores[0], scores[scores.length >> 1], scores.at(-1)]
    return min === undefined || median === undefined || max === undefined ? undefined : { min, median, max }
  }

  #connections(peer: PeerName) {
    return this.host.getConnections().filter((one) => one.status === 'open' && one.remotePeer.toString() === peer)
  }

  #hello(to: PeerName): Hello {
    const known = (peer: PeerName): string[] => sayable(this.#peers.addressesOf(peer))
    const peers = this.connected().map((peer) => ({ peer, addresses: known(peer) }))
    return {
      version: PROTOCOL_VERSION,
      run: this.#options.run,
      ...this.#admittance.proofFor(to),
      addresses: sayable(this.addresses()),
      peers: peers.filter((one) => one.addresses.length > 0).slice(0, MAX_INTRODUCED),
    }
  }

  #heard(peer: PeerName, said: Hello): void {
    // A bootstrap node is no peer: its own addresses are the user's to name.
    if (said.role === undefined) this.#peers.learn(peer, said.addresses)
    for (const other of said.peers) this.#peers.learn(other.peer, other.addresses)
    for (const node of said.role === undefined ? [] : (said.bootstraps ?? [])) this.#named(node)
  }

  /** A bootstrap node names another one: more of them know more peers, and one of them may go away. */
  #named({ peer, addresses }: { peer: PeerName; addresses: string[] }): void {
    if (this.#namedNodes.has(peer) || this.#namedNodes.size >= MAX_NAMED_NODES || peer === this.self) return
    if (this.#peers.bootstrap().some((known) => known.peer === peer)) return
    const usable = this.#peers.usable(peer, addresses).slice(0, MAX_NODE_ADDRESSES)
    if (usable.length === 0) return
    this.#namedNodes.add(peer)
    this.#peers.addBootstrap(usable.map(String))
  }

  #createFinder(): Finder | undefined {
    const { dht: options, run } = this.#options
    const { dht } = this.host.services
    if (options === undefined || dht === undefined) return undefined
    const finder = new Finder({
      dht,
      host: this.host,
      options,
      bootstrap: options.bootstrap.map(parseAddress),
      run,
      clock: this.clock,
      random: this.random('dht'),
      log: this.#log,
      peers: () => this.connected().length,
      reachable: () =>
        this.host.getMultiaddrs().some((one) => options.private === true || isRelayed(one) || !isPrivateAddress(one)),
      found: (peer, addresses) => this.#peers.learn(peer, addresses),
    })
    this.onEvent((event) => {
      if (event.kind === 'addresses') finder.addressesChanged()
      if (event.kind === 'disconnected' && this.connected().length === 0) finder.lonely()
    })
    return finder
  }

  /** What a connected peer speaks, once libp2p has identified it: before that only what was spoken with it is known. */
  async #protocols(peer: PeerName): Promise<string[]> {
    const connection = this.#connections(peer)[0]
    const pause = IDENTIFY_TIMEOUT / 30
    for (let waited = 0; connection !== undefined && waited < IDENTIFY_TIMEOUT; waited += pause) {
      const known = await this.host.peerStore.get(connection.remotePeer).catch(() => undefined)
      if (known?.metadata.has('AgentVersion') === true) return known.protocols
      if (this.#closing.signal.aborted) break
      await this.clock.sleep(pause)
    }
    return []
  }

  #joined(peer: PeerName): void {
    this.#places.settle(peer)
    const connection = this.#connections(peer)[0]
    if (connection === undefined) return
    const { remoteAddr, direction } = connection
    this.#log.info({ peer, address: remoteAddr.toString() }, 'connected')
    this.#emit({ kind: 'connected', peer, address: remoteAddr.toString(), direction })
    this.#connectionsChanged()
  }

  #left(peer: PeerName): void {
    this.#log.info({ peer }, 'disconnected')
    this.#emit({ kind: 'disconnected', peer })
    this.#connectionsChanged()
  }

  #rejected(peer: PeerName, reason: RejectReason, detail: string): void {
    this.#counters.rejected(reason)
    this.#log.debug({ peer, reason, detail }, 'rejected')
    this.#emit({ kind: 'rejected', peer, reason, detail })
  }

  /** Something was refused of which nobody knows whose it was. */
  #refused(reason: RejectReason, detail: string): void {
    this.#counters.rejected(reason)
    this.#log.debug({ reason, detail }, 'rejected')
  }

  #connectionsChanged(): void {
    for (const listener of [...this.#connectionListeners]) this.#guard(listener)
  }

  #emit(event: NetworkEvent): void {
    for (const listener of [...this.#listeners]) this.#guard(() => listener(event))
  }

  /** A listener's exception is its own; it must not reach libp2p's event loop, where it would end the process. */
  #guard(call: () => void): void {
    try {
      call()
    } catch (error) {
      this.#log.warn({ error: (error as Error).stack }, 'a listener failed')
    }
  }
}
