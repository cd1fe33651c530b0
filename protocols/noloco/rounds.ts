/** Where this peer is on the logical clock of rounds, who waits for it further on, and the questions that wait until it gets there. */

import { Bell } from '../bell.ts'
import type { PeerName } from '../ports.ts'
import { MAX_CLAIMED_ROUND } from '../replica/index.ts'
import type { PreparedExchange } from './ledger.ts'
import type { Appointment } from './meeting.ts'
import { type ExchangeSwarm, PARK } from './messages.ts'

/** Questions kept waiting at once. Above that they are answered with 'later' or 'pending'. */
const MAX_PARKED = 256

/** Peers whose call for a round is remembered; the oldest goes first. */
const MAX_INVITATIONS = 1_024

/** Where this peer is, as seen by another one that asks about a round. */
export type Place =
  /** In that round, and the asker is its partner. */
  | { at: 'here'; appointment: Appointment }
  /** In that round, with another partner. */
  | { at: 'elsewhere' }
  /** Past it, in `round`. */
  | { at: 'ahead'; round: number }
  /** Not there yet. */
  | { at: 'behind' }

export class Rounds {
  /** Rings at every change of what the two sides of an exchange wait for. */
  readonly bell = new Bell()
  readonly #swarm: ExchangeSwarm
  readonly #partnerOf: (round: number) => PeerName | undefined
  /** Highest round each peer has called for. At most {@link MAX_INVITATIONS}. */
  readonly #invitations = new Map<PeerName, number>()
  #completed = 0
  #current: Appointment | undefined
  #unresolved: PreparedExchange | undefined
  #parked = 0

  constructor(swarm: ExchangeSwarm, partnerOf: (round: number) => PeerName | undefined) {
    this.#swarm = swarm
    this.#partnerOf = partnerOf
  }

  /** The round that this peer is in; undefined while it trains. */
  get current(): Appointment | undefined {
    return this.#current
  }

  set current(appointment: Appointment | undefined) {
    this.#current = appointment
    this.bell.ring()
  }

  /** The exchange that an earlier process left undecided, until it is known how it ended. */
  get unresolved(): PreparedExchange | undefined {
    return this.#unresolved
  }

  set unresolved(exchange: PreparedExchange | undefined) {
    this.#unresolved = exchange
    this.bell.ring()
  }

  /** This peer is through with `round`. */
  complete(round: number): void {
    this.#completed = Math.max(this.#completed, round)
    for (const [peer, called] of this.#invitations) {
      if (called <= this.#completed) {
        this.#invitations.delete(peer)
      }
    }
    this.bell.ring()
  }

  /** The highest round in which a peer waits for this one by both their reckonings, above the completed ones. */
  invitation(): number | undefined {
    const byRound = [...this.#invitations].filter(([, round]) => round > this.#completed).sort(([, a], [, b]) => b - a)
    // To find the partner costs a hash per member, so it is done once per round.
    let partner: { round: number; peer: PeerName | undefined } | undefined
    for (const [peer, round] of byRound) {
      if (partner?.round !== round) {
        partner = { round, peer: this.#partnerOf(round) }
      }
      if (partner.peer === peer) {
        return round
      }
    }
    return undefined
  }

  /** Where this peer is for `from`, which is in `round` and, where this peer is behind, calls it there. */
  place(from: PeerName, round: number): Place {
    const current = this.#current
    if (current?.round === round) {
      return current.partner === from ? { at: 'here', appointment: current } : { at: 'elsewhere' }
    }
    const newest = Math.max(this.#completed, current?.round ?? 0)
    if (newest >= round) {
      return { at: 'ahead', round: newest }
    }
    this.#invite(from, round)
    return { at: 'behind' }
  }

  /** Keeps a question that came at `since` until something changes. False when its time is over, or others wait already. */
  async park(since: number, signal: AbortSignal): Promise<boolean> {
    const { clock } = this.#swarm
    const left = since + PARK - clock.now()
    if (left <= 0 || this.#parked >= MAX_PARKED || signal.aborted) {
      return false
    }
    this.#parked++
    await this.bell.wait(clock, left, signal)
    this.#parked--
    return true
  }

  #invite(from: PeerName, round: number): void {
    if (round > MAX_CLAIMED_ROUND) {
      return
    }
    if (!this.#invitations.has(from) && this.#invitations.size >= MAX_INVITATIONS) {
      const oldest = this.#invitations.keys().next().value
      if (oldest !== undefined) {
        this.#invitations.delete(oldest)
      }
    }
    this.#invitations.set(from, round)
  }
}
