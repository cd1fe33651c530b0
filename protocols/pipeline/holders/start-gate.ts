/** When the roles of a run that has no holder yet are dealt: not before everybody who will come soon has come, as far as that can be told. */
import type { Clock, PeerName } from '../../ports.ts'
import type { PeerRoles, Wanted } from './assignment.ts'

/** A peer that comes while others hold parts already listens so long before it takes anything, ms: two statements of everybody. */
const LISTEN = 2_500

/** With a peer for every role, so long after the last one came the roles are dealt, ms. */
const SETTLED = 1_000

/** With fewer peers, which take several roles each, so long after the last one came, ms. */
const QUIET = 4_000

export class StartGate {
  readonly #clock: Clock
  readonly #stages: number
  readonly #roles: number
  /** Peers seen at the last look; bounded by the view. */
  #peers = new Set<PeerName>()
  #openedAt = 0
  #cameAt = 0
  #passed = false

  constructor(clock: Clock, { stages, dataPeers }: Pick<Wanted, 'stages' | 'dataPeers'>) {
    this.#clock = clock
    this.#stages = stages
    this.#roles = stages + dataPeers
  }

  open(): void {
    this.#openedAt = this.#clock.now()
    this.#cameAt = this.#openedAt
  }

  /** Whether this peer may act on what it sees. */
  passes(peers: readonly PeerRoles[]): boolean {
    const now = this.#clock.now()
    if (peers.some(({ peer }) => !this.#peers.has(peer))) {
      this.#cameAt = now
    }
    this.#peers = new Set(peers.map(({ peer }) => peer))
    if (this.#passed) {
      return true
    }
    const since = now - this.#cameAt
    const listened = now - this.#openedAt >= LISTEN
    const held = peers.some(({ holds }) => holds.length > 0)
    const enough = peers.length >= this.#roles
    this.#passed = (enough && since >= SETTLED) || (held && listened) || (since >= QUIET && this.#suffice(peers))
    return this.#passed
  }

  /** What is waited for before the start; undefined once roles are dealt. */
  waiting(peers: readonly PeerRoles[]): string | undefined {
    if (this.#passed || peers.some(({ holds }) => holds.length > 0)) {
      return undefined
    }
    const places = peers.reduce((sum, peer) => sum + peer.places, 0)
    const here = `${peers.length} peer${peers.length === 1 ? '' : 's'} with room for ${places} stage${places === 1 ? '' : 's'}`
    return `more peers: ${here} are here, and there are ${this.#roles} roles`
  }

  #suffice(peers: readonly PeerRoles[]): boolean {
    return peers.reduce((sum, { places }) => sum + places, 0) >= this.#stages
  }
}
