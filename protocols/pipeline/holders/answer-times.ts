/** How long the others take to say that they live: how long an answer is waited for follows from it, as for a packet in RFC 6298. */
import type { PeerName } from '../../ports.ts'
import { QUICK_TIMEOUT } from './messages.ts'

/** Longest wait for an answer, ms: whoever hangs is found within it. */
export const LONGEST_ANSWER = 10 * QUICK_TIMEOUT

/** Share of a new answer in the smoothed time, and in how far answers are from it; how many of the latter are waited for (RFC 6298, section 2). */
const TIME_SHARE = 1 / 8
const VARIATION_SHARE = 1 / 4
const VARIATIONS = 4

/** An answer so long ago, ms, says nothing of how busy a machine is now. */
const MEMORY = 60_000

/** Peers remembered; the one that answered longest ago goes first. */
const MAX_PEERS = 1_024

export class AnswerTimes {
  /** Oldest first; at most {@link MAX_PEERS}. */
  readonly #times = new Map<PeerName, { smoothed: number; variation: number; at: number }>()

  /** A peer answered after so many ms. */
  took(peer: PeerName, milliseconds: number, now: number): void {
    const known = this.#lately(peer, now)
    const off = known === undefined ? 0 : Math.abs(known.smoothed - milliseconds)
    const next =
      known === undefined
        ? { smoothed: milliseconds, variation: milliseconds / 2 }
        : {
            smoothed: known.smoothed + TIME_SHARE * (milliseconds - known.smoothed),
            variation: known.variation + VARIATION_SHARE * (off - known.variation),
          }
    this.#times.delete(peer)
    this.#times.set(peer, { ...next, at: now })
    const oldest = this.#times.keys().next().value
    if (this.#times.size > MAX_PEERS && oldest !== undefined) {
      this.#times.delete(oldest)
    }
  }

  /** How long an answer of that peer is waited for, ms: {@link QUICK_TIMEOUT} where nothing else is known, at most {@link LONGEST_ANSWER}. */
  patience(peer: PeerName, now: number): number {
    const known = this.#lately(peer, now)
    const needed = known === undefined ? 0 : known.smoothed + VARIATIONS * known.variation
    return Math.min(LONGEST_ANSWER, Math.max(QUICK_TIMEOUT, needed))
  }

  #lately(peer: PeerName, now: number): { smoothed: number; variation: number } | undefined {
    const known = this.#times.get(peer)
    return known === undefined || now - known.at > MEMORY ? undefined : known
  }
}
