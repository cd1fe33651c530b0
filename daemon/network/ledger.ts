/**
 * What is held against each peer: a score that fades, and bans. Beside the gossip router's own score, which sees only gossip.
 *
 * Points halve every ten minutes; {@link DISCONNECT_POINTS} disconnect, {@link BAN_POINTS} refuse the peer for half an hour. Time-outs
 * that might be our own fault carry next to none.
 */
import type { Clock, PeerName } from '../../protocols/index.ts'
import { type Ban, type BanStore, MAX_BANS, type NetworkLog, type RejectReason } from './types.ts'

export const HALF_LIFE = 10 * 60_000
export const DISCONNECT_POINTS = 20
export const BAN_POINTS = 45
export const BAN_DURATION = 30 * 60_000

/** Peers with points remembered at most; the one with the fewest is forgotten for a new one. */
const MAX_SCORES = 4_096

/** Points for each reason. Ten is one proven fault: five of them within a minute or two, faded a little, are a ban. */
const POINTS: Record<RejectReason, number> = {
  banned: 0,
  'not-admitted': 0,
  'other-run': 0,
  'no-protocol': 0,
  'other-version': 0,
  'malformed-frame': 25,
  'too-large': 25,
  'too-many-questions': 25,
  'too-slow': 1,
  'rate-limit': 0.02,
  'invalid-message': 10,
  fault: 10,
}

export interface LedgerParts {
  clock: Clock
  log: NetworkLog
  store?: BanStore | undefined
  /** Called after each rejection, before what follows from it. */
  rejected(peer: PeerName, reason: RejectReason, detail: string): void
  /** The connections of the peer should be closed. */
  disconnect(peer: PeerName): void
  banned(ban: Ban): void
}

export class Ledger {
  readonly #parts: LedgerParts
  /** Bounded by MAX_SCORES. */
  readonly #scores = new Map<PeerName, { points: number; at: number }>()
  /** Bounded by MAX_BANS. */
  readonly #bans = new Map<PeerName, Ban>()
  #saving: Promise<void> = Promise.resolve()

  constructor(parts: LedgerParts) {
    this.#parts = parts
  }

  async load(): Promise<void> {
    const now = this.#parts.clock.now()
    for (const ban of (await this.#parts.store?.load()) ?? []) {
      if (ban.until > now && this.#bans.size < MAX_BANS) this.#bans.set(ban.peer, ban)
    }
  }

  /** Resolves when every ban has been handed to the store. */
  async flush(): Promise<void> {
    await this.#saving
  }

  /** Notes that something of a peer was refused, and acts on the sum. */
  reject(peer: PeerName, reason: RejectReason, detail: string, points = POINTS[reason]): void {
    this.#parts.rejected(peer, reason, detail)
    if (points === 0 || this.isBanned(peer)) return
    const before = this.points(peer)
    const after = before + points
    if (!this.#scores.has(peer) && this.#scores.size >= MAX_SCORES) this.#forgetLeast()
    this.#scores.set(peer, { points: after, at: this.#parts.clock.now() })
    if (after >= BAN_POINTS) this.#ban(peer, detail)
    else if (after >= DISCONNECT_POINTS && before < DISCONNECT_POINTS) this.#parts.disconnect(peer)
  }

  /** Points held against a peer now. */
  points(peer: PeerName): number {
    const score = this.#scores.get(peer)
    if (score === undefined) return 0
    return score.points * 2 ** (-(this.#parts.clock.now() - score.at) / HALF_LIFE)
  }

  isBanned(peer: PeerName): boolean {
    const ban = this.#bans.get(peer)
    if (ban === undefined) return false
    if (ban.until > this.#parts.clock.now()) return true
    this.#bans.delete(peer)
    return false
  }

  bans(): Ban[] {
    return [...this.#bans.values()].filter((ban) => this.isBanned(ban.peer))
  }

  #ban(peer: PeerName, reason: string): void {
    const ban = { peer, until: this.#parts.clock.now() + BAN_DURATION, reason }
    if (this.#bans.size >= MAX_BANS) {
      const first = [...this.#bans.values()].reduce((a, b) => (a.until <= b.until ? a : b))
      this.#bans.delete(first.peer)
    }
    this.#bans.set(peer, ban)
    this.#scores.delete(peer)
    this.#parts.banned(ban)
    this.#parts.disconnect(peer)
    this.#saving = this.#saving
      .then(() => this.#parts.store?.save(this.bans()))
      .catch((error: Error) => this.#parts.log.warn({ error: error.message }, 'the bans could not be saved'))
  }

  #forgetLeast(): void {
    let least: PeerName | undefined
    let fewest = Number.POSITIVE_INFINITY
    for (const peer of this.#scores.keys()) {
      const points = this.points(peer)
      if (points < fewest) {
        least = peer
        fewest = points
      }
    }
    if (least !== undefined) this.#scores.delete(least)
  }
}
