/**
 * What each peer has done for us and what is held against it, and bans. The gossip router's own score, which sees only gossip, takes it in (P5).
 *
 * Points halve every ten minutes; {@link DISCONNECT_POINTS} disconnect, {@link BAN_POINTS} refuse the peer for half an hour. Time-outs
 * that might be our own fault carry next to none. Credit comes from questions of ours that the peer answered, so it cannot be had by talking; it halves every hour, and a proven
 * fault ends it. It buys no fault: points alone disconnect and ban. It buys a place where strangers find none.
 */
import type { Clock, PeerName } from '../../protocols/index.ts'
import { type Ban, type BanStore, MAX_BANS, type NetworkLog, type RejectReason, type Standing } from './types.ts'

export const HALF_LIFE = 10 * 60_000
export const CREDIT_HALF_LIFE = 60 * 60_000
export const DISCONNECT_POINTS = 20
export const BAN_POINTS = 45
export const BAN_DURATION = 30 * 60_000

/** Credit for an answer, and the most that a peer can have: as much as takes it from nothing to where it is disconnected. */
const ANSWER_CREDIT = 0.1
export const MAX_CREDIT = 20
/** From this credit on a peer is known to be good: ten answers. */
const GOOD_CREDIT = 1
/** Bounds of the score. */
const MAX_SCORE = 100

/** Peers remembered at most; the one with the least credit and points is forgotten for a new one. */
const MAX_SCORES = 4_096

/** Points of a proven fault, which ends all credit. */
const FAULT = 10

/** Points for each reason. Five proven faults within a minute or two, faded a little, are a ban. */
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
  'invalid-message': FAULT,
  'gossip-score': FAULT,
  fault: FAULT,
  // Refused before it is known who it is, or for want of room.
  'address-limit': 0,
  'connection-rate': 0,
  'no-room': 0,
}

export interface LedgerParts {
  clock: Clock
  log: NetworkLog
  store?: BanStore | undefined
  /** Called after each rejection, before what follows from it. */
  rejected(peer: PeerName, reason: RejectReason, detail: string): void
  /** The connections of the peer should be closed; `proven` when the last of what it did is a proven fault. */
  disconnect(peer: PeerName, proven: boolean): void
  banned(ban: Ban): void
}

interface Account {
  points: number
  credit: number
  /** When both were as they stand here. */
  at: number
  /** Refusals by reason; bounded by the reasons. */
  refused: Partial<Record<RejectReason, number>>
}

export class Ledger {
  readonly #parts: LedgerParts
  /** Bounded by MAX_SCORES. */
  readonly #scores = new Map<PeerName, Account>()
  /** Bounded by MAX_BANS. */
  readonly #bans = new Map<PeerName, Ban>()
  #saving: Promise<void> = Promise.resolve()

  constructor(parts: LedgerParts) {
    this.#parts = parts
  }

  async load(): Promise<void> {
    const now = this.#parts.clock.now()
    for (const ban of (await this.#parts.store?.load()) ?? []) {
      // A clock that was wrong when the ban was written must not make it last.
      const until = Math.min(ban.until, now + BAN_DURATION)
      if (until > now && this.#bans.size < MAX_BANS) this.#bans.set(ban.peer, { ...ban, until })
    }
  }

  /** Resolves when every ban has been handed to the store. */
  async flush(): Promise<void> {
    await this.#saving
  }

  /** Notes that something of a peer was refused, and acts on the sum. */
  reject(peer: PeerName, reason: RejectReason, detail: string, points = POINTS[reason]): void {
    this.#parts.rejected(peer, reason, detail)
    const account = this.#account(peer)
    account.refused[reason] = (account.refused[reason] ?? 0) + 1
    if (points === 0 || this.isBanned(peer)) return
    const before = account.points
    account.points = Math.min(MAX_SCORE, before + points)
    const proven = points >= FAULT
    if (proven) account.credit = 0
    if (account.points >= BAN_POINTS) this.#ban(peer, detail)
    else if (account.points < DISCONNECT_POINTS || before >= DISCONNECT_POINTS) return
    this.#parts.disconnect(peer, proven)
  }

  /** A peer answered a question of ours. What it said may still prove to be false, which ends its credit. */
  worked(peer: PeerName): void {
    const account = this.#account(peer)
    account.credit = Math.min(MAX_CREDIT, account.credit + ANSWER_CREDIT)
  }

  /** Points held against a peer now. */
  points(peer: PeerName): number {
    return this.#now(peer).points
  }

  /** Credit less points, -100 to 20. */
  score(peer: PeerName): number {
    const { credit, points } = this.#now(peer)
    return credit - points
  }

  /** It has worked for us, and little is held against it. */
  isGood(peer: PeerName): boolean {
    const { credit, points } = this.#now(peer)
    return credit >= GOOD_CREDIT && points < DISCONNECT_POINTS
  }

  /** It is banned, or so much is held against it that this node does not go to it by itself. */
  isAvoided(peer: PeerName): boolean {
    return this.isBanned(peer) || this.points(peer) >= DISCONNECT_POINTS
  }

  standing(peer: PeerName): Standing {
    const { credit, points } = this.#now(peer)
    return { score: credit - points, credit, points, refused: { ...this.#scores.get(peer)?.refused } }
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
    this.#saving = this.#saving
      .then(() => this.#parts.store?.save(this.bans()))
      .catch((error: Error) => this.#parts.log.warn({ error: error.message }, 'the bans could not be saved'))
  }

  /** The account of a peer as of now, made if need be. */
  #account(peer: PeerName): Account {
    const known = this.#scores.get(peer)
    if (known === undefined && this.#scores.size >= MAX_SCORES) this.#forgetLeast()
    const account = known ?? { points: 0, credit: 0, at: 0, refused: {} }
    Object.assign(account, this.#now(peer), { at: this.#parts.clock.now() })
    this.#scores.set(peer, account)
    return account
  }

  #now(peer: PeerName): { points: number; credit: number } {
    const account = this.#scores.get(peer)
    if (account === undefined) return { points: 0, credit: 0 }
    const age = this.#parts.clock.now() - account.at
    return { points: account.points * 2 ** (-age / HALF_LIFE), credit: account.credit * 2 ** (-age / CREDIT_HALF_LIFE) }
  }

  #forgetLeast(): void {
    let least: PeerName | undefined
    let fewest = Number.POSITIVE_INFINITY
    for (const peer of this.#scores.keys()) {
      const { points, credit } = this.#now(peer)
      if (points + credit < fewest) {
        least = peer
        fewest = points + credit
      }
    }
    if (least !== undefined) this.#scores.delete(least)
  }
}
