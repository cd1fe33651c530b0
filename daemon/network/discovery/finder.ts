/**
 * Finds peers of a run in a DHT, under the run's CID, and is found there itself.
 *
 * Whoever finds a peer this way has found a stranger that says it is of the run: it is dialled, says hello and is kept or dropped, as everybody. Looking
 * never holds anything up: each query has a budget, and the next one comes after a pause with jitter, so that peers that start together do not ask in step.
 */
import { setMaxListeners } from 'node:events'
import type { AbortOptions, PeerId } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import { CID } from 'multiformats/cid'
import type { Clock, PeerName, Random } from '../../../protocols/index.ts'
import type { NetworkLog } from '../types.ts'
import type { Dht } from './dht.ts'
import { type DhtCounts, type DhtOptions, QUERY_BUDGET } from './types.ts'

/** Pause after the first look-up; each one doubles it, up to the longest, milliseconds. */
const FIRST_PAUSE = 5_000
/** The longest pause while no peer of the run is connected, and with at least one, milliseconds. */
const LONELY_PAUSE = 2 * 60_000
const CONTENT_PAUSE = 10 * 60_000
/** Pause while no node of the DHT is known, milliseconds; its bootstrap nodes are dialled then. */
const EMPTY_PAUSE = 2_000
const MAX_EMPTY_PAUSE = 60_000
/** Time between two announcements, milliseconds. A record lives two days, but its keepers come and go. */
const PROVIDE_EVERY = 6 * 60 * 60_000
/** In a DHT of our own, whose servers forget addresses when they restart. */
const PROVIDE_PRIVATE_EVERY = 30 * 60_000
/** With fewer keepers of the record than this it is left again soon, milliseconds: the DHT was hardly known yet, and others may look elsewhere in it. */
const ENOUGH_KEEPERS = 10
const PROVIDE_AGAIN = 20_000
/** Whole time for one dial of a bootstrap node, milliseconds. */
const DIAL_TIMEOUT = 10_000
/** Peers remembered as found, so that each is counted once; the oldest goes first. */
const MAX_FOUND = 1_024
/** Peers of one look-up that are looked up in turn because their record says no address. */
const MAX_ADDRESS_LOOKUPS = 4

/** What the finder needs of libp2p; `Libp2p` fits. */
export interface FinderHost {
  peerId: PeerId
  dial(address: Multiaddr, options: AbortOptions): Promise<unknown>
}

export interface FinderParts {
  dht: Dht
  host: FinderHost
  options: DhtOptions
  /** The bootstrap nodes of `options`, read. */
  bootstrap: readonly Multiaddr[]
  /** CID text of the run's manifest. */
  run: string
  clock: Clock
  random: Random
  log: NetworkLog
  /** Peers of the run that are connected. */
  peers(): number
  /** Whether others can reach this node at an address of it that the DHT takes. */
  reachable(): boolean
  found(peer: PeerName, addresses: string[]): void
}

export class Finder {
  readonly #parts: FinderParts
  readonly #cid: CID
  readonly #closing = new AbortController()
  readonly #counts = { queries: 0, failures: 0, found: 0, provided: 0 }
  /** At most MAX_FOUND. */
  readonly #found = new Set<PeerName>()
  #nextProvide = 0
  #pause = FIRST_PAUSE
  #emptyPause = EMPTY_PAUSE
  #wake: (() => void) | undefined
  #running: Promise<void> = Promise.resolve()

  /** Throws when the run is no CID. */
  constructor(parts: FinderParts) {
    this.#parts = parts
    this.#cid = CID.parse(parts.run)
  }

  /** Begins to look, in the background. */
  start(): void {
    this.#running = this.#run()
  }

  /** Resolves when the last query has ended. */
  async stop(): Promise<void> {
    this.#closing.abort()
    await this.#running
  }

  /** The addresses of this node have changed: others should know soon. */
  addressesChanged(): void {
    this.#nextProvide = 0
    if (this.#parts.reachable()) this.#hurry()
  }

  /** The last peer of the run is gone: looks again soon. */
  lonely(): void {
    this.#pause = FIRST_PAUSE
    this.#hurry()
  }

  counts(): DhtCounts {
    return { ...this.#counts, table: this.#parts.dht.routingTable.size }
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing
    while (!signal.aborted) {
      if (this.#parts.dht.routingTable.size === 0) await this.#enter()
      if (this.#parts.dht.routingTable.size === 0) {
        await this.#sleep(this.#emptyPause)
        this.#emptyPause = Math.min(MAX_EMPTY_PAUSE, this.#emptyPause * 2)
        continue
      }
      this.#emptyPause = EMPTY_PAUSE
      await Promise.all([this.#provide(), this.#find()])
      const most = this.#parts.peers() === 0 ? LONELY_PAUSE : CONTENT_PAUSE
      await this.#sleep(Math.min(this.#pause, most))
      this.#pause = Math.min(CONTENT_PAUSE, this.#pause * 2)
    }
  }

  /** Dials the bootstrap nodes of the DHT; those that answer get into its routing table, a moment later, when they have said what they speak. */
  async #enter(): Promise<void> {
    const { host, bootstrap, log } = this.#parts
    const results = await Promise.allSettled(
      bootstrap.map((address) => host.dial(address, { signal: this.#within(DIAL_TIMEOUT) })),
    )
    if (this.#closing.signal.aborted || results.some(({ status }) => status === 'fulfilled')) return
    log.warn(
      { nodes: bootstrap.map(String) },
      `none of the ${bootstrap.length} bootstrap nodes of the DHT can be reached; trying again in ${this.#emptyPause / 1_000} s`,
    )
  }

  /** Leaves a record of this node under the run's CID, when it is time and the node can be reached: a record without addresses is ignored. */
  async #provide(): Promise<void> {
    const { dht, options, clock, log, reachable } = this.#parts
    if (clock.now() < this.#nextProvide || !reachable()) return
    let keepers = 0
    const done = await this.#query('announcing this peer in the DHT', async (signal) => {
      for await (const event of dht.provide(this.#cid, { signal })) {
        if (event.name === 'PEER_RESPONSE' && event.messageName === 'ADD_PROVIDER') keepers++
      }
    })
    if (keepers === 0) {
      if (done) this.#counts.failures++
      return
    }
    this.#counts.provided++
    const later = options.private === true ? PROVIDE_PRIVATE_EVERY : PROVIDE_EVERY
    const every = keepers < ENOUGH_KEEPERS ? PROVIDE_AGAIN : later
    this.#nextProvide = clock.now() + every * (0.75 + this.#parts.random.uniform() / 4)
    log.info({ keepers }, 'announced in the DHT')
  }

  async #find(): Promise<void> {
    const { dht, log } = this.#parts
    const unknown: PeerId[] = []
    let answers = 0
    const done = await this.#query('looking for peers in the DHT', async (signal) => {
      for await (const event of dht.findProviders(this.#cid, { signal })) {
        if (event.name === 'PEER_RESPONSE') answers++
        if (event.name !== 'PROVIDER') continue
        for (const { id, multiaddrs } of event.providers) {
          if (multiaddrs.length > 0) this.#take(id, multiaddrs)
          else unknown.push(id)
        }
      }
    })
    if (done && answers === 0) this.#counts.failures++
    log.debug({ answers, found: this.#counts.found }, 'looked for peers in the DHT')
    for (const id of unknown.slice(0, MAX_ADDRESS_LOOKUPS)) {
      await this.#query('looking for a peer in the DHT', async (signal) => {
        for await (const event of dht.findPeer(id, { signal })) {
          if (event.name === 'FINAL_PEER') this.#take(id, event.peer.multiaddrs)
        }
      })
    }
  }

  #take(id: PeerId, addresses: readonly Multiaddr[]): void {
    if (id.equals(this.#parts.host.peerId)) return
    const peer = id.toString()
    if (!this.#found.has(peer)) {
      this.#counts.found++
      this.#found.add(peer)
      if (this.#found.size > MAX_FOUND) this.#found.delete(this.#found.values().next().value as PeerName)
    }
    this.#parts.found(peer, addresses.map(String))
  }

  /** Runs a query within its budget. Resolves to whether it came to its end; never rejects. */
  async #query(what: string, run: (signal: AbortSignal) => Promise<void>): Promise<boolean> {
    this.#counts.queries++
    try {
      await run(this.#within(QUERY_BUDGET))
      return true
    } catch (error) {
      if (this.#closing.signal.aborted) return false
      this.#counts.failures++
      this.#parts.log.debug({ error: (error as Error).message }, `${what} failed`)
      return false
    }
  }

  #within(milliseconds: number): AbortSignal {
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(milliseconds)])
    // Each of a query's requests listens to it.
    setMaxListeners(0, signal)
    return signal
  }

  /** Ends the pause under way. */
  #hurry(): void {
    this.#wake?.()
  }

  /** Waits between half and all of the time, or until there is reason to hurry. */
  async #sleep(milliseconds: number): Promise<void> {
    const { clock, random } = this.#parts
    const hurried = new AbortController()
    this.#wake = () => hurried.abort()
    try {
      await clock.sleep(
        milliseconds * (0.5 + random.uniform() / 2),
        AbortSignal.any([this.#closing.signal, hurried.signal]),
      )
    } catch {
      // Woken, or closing: the loop looks which.
    } finally {
      this.#wake = undefined
    }
  }
}
