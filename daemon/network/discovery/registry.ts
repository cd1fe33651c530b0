/** Who asked a bootstrap node for peers of which run: bounded, expiring, and of no more weight than what strangers say. */
import type { PeerName, Random } from '../../../protocols/index.ts'
import { shuffled } from '../../../protocols/index.ts'

/** A peer that has not said hello for this long is forgotten, milliseconds: some of its hellos, which come each minute at least, may be lost. */
export const REGISTRATION_AGE = 5 * 60_000
/** Runs remembered; the one that was asked for longest ago goes first. */
export const MAX_RUNS = 1_024
/** Peers of one run; the one that was heard of longest ago goes first. A newcomer needs a few. */
export const MAX_PEERS_PER_RUN = 256
/** Peers of all runs together, for the memory: each has at most 8 addresses of 256 bytes. */
export const MAX_REGISTRATIONS = 8_192
/** Runs of one peer. A daemon takes part in one; some may run behind one key only by mistake. */
export const MAX_RUNS_PER_PEER = 4

interface Registration {
  addresses: readonly string[]
  heard: number
}

/** Limits, all optional; the defaults are this file's. */
export interface RegistryLimits {
  runs?: number
  peersPerRun?: number
  registrations?: number
  runsPerPeer?: number
  age?: number
}

/** Numbers for the metrics. */
export interface RegistryCounts {
  runs: number
  peers: number
  /** Hellos taken since the start. */
  registered: number
  /** Entries dropped for others because a bound was reached. */
  evicted: number
}

export class Registry {
  readonly #now: () => number
  readonly #random: Random
  readonly #limits: Required<RegistryLimits>
  /** By run, in the order of the last hello; within it the peers in the same order. Bounded by the limits. */
  readonly #runs = new Map<string, Map<PeerName, Registration>>()
  /** Runs of each peer that is registered. */
  readonly #byPeer = new Map<PeerName, Set<string>>()
  #size = 0
  #registered = 0
  #evicted = 0

  constructor(parts: { now(): number; random: Random }, limits: RegistryLimits = {}) {
    this.#now = parts.now
    this.#random = parts.random
    this.#limits = {
      runs: limits.runs ?? MAX_RUNS,
      peersPerRun: limits.peersPerRun ?? MAX_PEERS_PER_RUN,
      registrations: limits.registrations ?? MAX_REGISTRATIONS,
      runsPerPeer: limits.runsPerPeer ?? MAX_RUNS_PER_PEER,
      age: limits.age ?? REGISTRATION_AGE,
    }
  }

  /** Notes that a peer takes part in a run and where it is; later words replace earlier ones. */
  register(run: string, peer: PeerName, addresses: readonly string[]): void {
    this.#expire()
    this.#remove(run, peer)
    const { runs, peersPerRun, registrations, runsPerPeer } = this.#limits
    const others = this.#byPeer.get(peer)
    if (others !== undefined && others.size >= runsPerPeer) this.#evict(first(others), peer)
    if (!this.#runs.has(run) && this.#runs.size >= runs) this.#evictRun(first(this.#runs.keys()))
    const peers = this.#runs.get(run) ?? new Map<PeerName, Registration>()
    if (peers.size >= peersPerRun) this.#evict(run, first(peers.keys()))
    while (this.#size >= registrations) this.#evictOldest()
    // The run that was asked for last is the last one to go.
    this.#runs.delete(run)
    this.#runs.set(run, peers)
    peers.set(peer, { addresses, heard: this.#now() })
    const runsOf = this.#byPeer.get(peer) ?? new Set()
    this.#byPeer.set(peer, runsOf.add(run))
    this.#size++
    this.#registered++
  }

  /** Other peers of the run, at most so many, a random choice when there are more. */
  peersOf(run: string, asker: PeerName, most: number): { peer: PeerName; addresses: string[] }[] {
    this.#expire()
    const others = [...(this.#runs.get(run) ?? [])].filter(
      ([peer, { addresses }]) => peer !== asker && addresses.length > 0,
    )
    const chosen = others.length > most ? shuffled(others, this.#random).slice(0, most) : others
    return chosen.map(([peer, { addresses }]) => ({ peer, addresses: [...addresses] }))
  }

  counts(): RegistryCounts {
    this.#expire()
    return { runs: this.#runs.size, peers: this.#size, registered: this.#registered, evicted: this.#evicted }
  }

  #expire(): void {
    const oldest = this.#now() - this.#limits.age
    for (const [run, peers] of this.#runs) {
      for (const [peer, { heard }] of peers) {
        if (heard >= oldest) break
        this.#remove(run, peer)
      }
    }
  }

  #evictRun(run: string): void {
    for (const peer of [...(this.#runs.get(run)?.keys() ?? [])]) this.#evict(run, peer)
  }

  /** The peer heard of longest ago in the run asked for longest ago. */
  #evictOldest(): void {
    const run = first(this.#runs.keys())
    this.#evict(run, first((this.#runs.get(run) as Map<PeerName, Registration>).keys()))
  }

  #evict(run: string, peer: PeerName): void {
    this.#remove(run, peer)
    this.#evicted++
  }

  #remove(run: string, peer: PeerName): void {
    const peers = this.#runs.get(run)
    if (peers?.delete(peer) !== true) return
    this.#size--
    if (peers.size === 0) this.#runs.delete(run)
    const runs = this.#byPeer.get(peer)
    runs?.delete(run)
    if (runs?.size === 0) this.#byPeer.delete(peer)
  }
}

const first = <T>(values: Iterable<T>): T => values[Symbol.iterator]().next().value as T
