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
import { announced, isRelayed, linkKind } from './addresses.ts'
import type { AskService } from './ask.ts'
import { assemble, type Parts } from './assemble.ts'
import { systemClock } from './clock.ts'
import { connectionsWith, preferred } from './connections.ts'
import type { Host } from './host.ts'
import { peerNameOf, verifySignature } from './identity.ts'
import { Listeners } from './listeners.ts'
import { listenFailed } from './listening.ts'
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
  Standing,
} from './types.ts'

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
  readonly #listeners: Listeners
  readonly #closing = new AbortController()
  #parts!: Parts
  #started = false
  #stopping: Promise<void> | undefined

  constructor(options: NetworkOptions) {
    this.#options = options
    this.#log = options.log ?? SILENT
    this.self = peerNameOf(options.identity)
    this.#listeners = new Listeners(this.#log)
  }

  async init(): Promise<void> {
    const { clock, self } = this
    this.#parts = await assemble(this.#options, {
      self,
      clock,
      log: this.#log,
      listeners: this.#listeners,
      random: (purpose) => this.random(purpose),
      signal: this.#closing.signal,
    })
  }

  /** libp2p, and questions and answers over it; for the tests of this folder. */
  get host(): Host {
    return this.#parts.host
  }

  get asks(): AskService {
    return this.#parts.asks
  }

  async start(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    if (this.#started || this.#closing.signal.aborted) {
      throw new StarlingError('already-started', 'a network is started once; make a new one')
    }
    this.#started = true
    await this.#parts.ledger.load()
    await this.asks.start()
    try {
      await this.host.start()
    } catch (error) {
      await this.stop()
      throw listenFailed(this.#options.listen, error)
    }
    await this.#parts.connectivity.start(this.host, {
      self: this.self,
      woken: () => this.#parts.peers.woken(),
      clock: this.clock,
      random: this.random('reachability'),
      log: this.#log,
      counters: this.#parts.counters,
      known: (peer) => this.#parts.peers.known(peer),
      ask: this.asks,
      peers: () => ({ services: this.#parts.introductions.services(), others: this.connected() }),
      changed: (reachability) => this.#listeners.emit({ kind: 'reachability', reachability }),
      trusts: (peer) => this.#parts.introductions.has(peer) || this.#parts.introductions.services().includes(peer),
      moved: (peer) => this.asks.renew(peer),
      signal: this.#closing.signal,
    })
    this.#parts.gossip.start()
    this.#parts.peers.start()
    this.#parts.finder?.start()
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
    await this.#parts.finder?.stop()
    this.#parts.peers.stop()
    this.#parts.connectivity.stop()
    this.#parts.gossip.stop()
    await this.asks.stop()
    for (const connection of this.host.getConnections())
      this.#parts.introductions.forget(connection.remotePeer.toString())
    await this.#stopHost()
    await this.#parts.connectivity.release()
    await this.#parts.ledger.flush()
    this.#listeners.clear()
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
    return this.#parts.introductions.peers()
  }

  onConnections(listener: () => void): () => void {
    return this.#listeners.onConnections(listener)
  }

  publish(topic: string, data: Uint8Array, signal?: AbortSignal): Promise<number> {
    return this.#parts.gossip.publish(topic, data, signal)
  }

  subscribe(topic: string, handler: TopicHandler): () => void {
    return this.#parts.gossip.subscribe(topic, handler)
  }

  subscribers(topic: string): PeerName[] {
    return this.#parts.gossip.subscribers(topic)
  }

  ask(peer: PeerName, method: string, question: Uint8Array, options?: AskOptions): Promise<Uint8Array> {
    return this.asks.ask(peer, method, question, options)
  }

  answer(method: string, answerer: Answerer): () => void {
    return this.asks.answer(method, answerer)
  }

  penalize(peer: PeerName, reason: string): void {
    this.#parts.ledger.reject(peer, 'fault', reason)
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
    return this.#parts.connectivity.report()
  }

  addressesOf(peer: PeerName): string[] {
    return this.#parts.peers.addressesOf(peer)
  }

  addBootstrap(addresses: readonly string[]): void {
    this.#parts.peers.addBootstrap(addresses)
  }

  dial(address: string, signal?: AbortSignal): Promise<PeerName> {
    return this.#parts.peers.dial(address, signal)
  }

  disconnect(peer: PeerName): Promise<void> {
    return this.#parts.peers.disconnect(peer)
  }

  onEvent(listener: (event: NetworkEvent) => void): () => void {
    return this.#listeners.onEvent(listener)
  }

  counters(): NetworkCounters {
    const relay = this.#parts.connectivity.load()
    const dht = this.#parts.finder?.counts()
    return {
      ...this.#parts.counters.snapshot(this.connected().length),
      ...(relay === undefined ? {} : { relay }),
      ...(dht === undefined ? {} : { dht }),
    }
  }

  links(): Link[] {
    const used = this.host.getPeers().flatMap((peer) => {
      const all = connectionsWith(this.host, peer.toString())
      const taken = preferred(all)
      return all.filter((one) => isRelayed(one.remoteAddr) || taken.includes(one))
    })
    return used.map(({ remotePeer, remoteAddr, direction }) => ({
      peer: remotePeer.toString(),
      direction,
      kind: linkKind(remoteAddr),
      address: remoteAddr.toString(),
    }))
  }

  bootstrap(): BootstrapStatus[] {
    return this.#parts.peers.bootstrap()
  }

  bans(): Ban[] {
    return this.#parts.ledger.bans()
  }

  standing(peer: PeerName): Standing {
    return this.#parts.ledger.standing(peer)
  }

  scores(): { min: number; median: number; max: number } | undefined {
    const scores = this.connected()
      .map((peer) => this.#parts.ledger.score(peer))
      .sort((a, b) => a - b)
    const [min, median, max] = [scores[0], scores[scores.length >> 1], scores.at(-1)]
    return min === undefined || median === undefined || max === undefined ? undefined : { min, median, max }
  }
}
