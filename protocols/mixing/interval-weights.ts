/** Fair weights where peers take part unevenly: who comes seldom speaks for longer. */
import { StarlingError } from '../errors.ts'
import type { PeerName } from '../ports.ts'

/** Options of {@link IntervalWeights}. */
export interface IntervalOptions {
  /** Rounds of silence after which an interval is closed and counted (FedAU's K). Default 50; much smaller brings the bias back. */
  cutoff?: number
  /** Peers remembered; beyond, the one silent for longest is forgotten and begins again at weight 1. Default 1,024. */
  maxPeers?: number
}

/** What is kept of a peer. */
export interface IntervalRecord {
  peer: PeerName
  /** Finished intervals, and their sum in rounds. */
  intervals: number
  rounds: number
  /** Round of its last contribution. */
  last: number
}

/**
 * FedAU's weights (Wang & Ji 2024, "A Lightweight Method for Tackling Unknown Participation Statistics in Federated Averaging", arXiv
 * 2306.03401, algorithm 2): the weight of a peer is the mean number of rounds between its contributions, an estimate of 1 / (probability that
 * it takes part), known without knowing that probability. FedFix and FedStaleWeight come to the same counter. To discount what comes late
 * does the opposite and makes the bias worse.
 *
 * Counted by the receiver from what it received, in its own rounds (its mixing steps): nobody can report a weight of its own. Deviation: the
 * paper's counters move every round; here they are brought up to date when a peer contributes, which gives the same numbers.
 */
export class IntervalWeights {
  readonly #cutoff: number
  readonly #maxPeers: number
  /** In order of the last contribution, oldest first; at most #maxPeers. */
  readonly #records = new Map<PeerName, IntervalRecord>()

  constructor({ cutoff = 50, maxPeers = 1_024 }: IntervalOptions = {}, kept: readonly IntervalRecord[] = []) {
    if (!Number.isInteger(cutoff) || cutoff < 1) {
      throw new StarlingError('bad-option', `cutoff: must be a whole number from 1, not ${cutoff}`, { cutoff })
    }
    this.#cutoff = cutoff
    this.#maxPeers = maxPeers
    for (const record of kept.slice(-maxPeers)) {
      this.#records.set(record.peer, { ...record })
    }
  }

  /**
   * Notes a contribution in `round` (never falling) and returns the peer's weight for it: the mean of the intervals that were finished before,
   * 1 when there is none. The interval that ends now counts from the next time on, so the weight does not depend on the draw it corrects.
   * A second contribution in one round gets the same weight and counts as one.
   */
  contribute(peer: PeerName, round: number): number {
    const record = this.#records.get(peer)
    if (record === undefined) {
      this.#put({ peer, intervals: 0, rounds: 0, last: round })
      return 1
    }
    const interval = round - record.last
    // Silence was cut into intervals of the cutoff; the last one, of 1 to cutoff rounds, ends with this contribution.
    const cuts = Math.max(0, Math.ceil(interval / this.#cutoff) - 1)
    const intervals = record.intervals + cuts
    const rounds = record.rounds + cuts * this.#cutoff
    if (interval > 0) {
      const rest = interval - cuts * this.#cutoff
      this.#put({ peer, intervals: intervals + 1, rounds: rounds + rest, last: round })
    }
    return intervals === 0 ? 1 : rounds / intervals
  }

  /** Plain data for a checkpoint; give it to the constructor. */
  records(): IntervalRecord[] {
    return [...this.#records.values()].map((record) => ({ ...record }))
  }

  #put(record: IntervalRecord): void {
    this.#records.delete(record.peer)
    this.#records.set(record.peer, record)
    if (this.#records.size > this.#maxPeers) {
      this.#records.delete(this.#records.keys().next().value as PeerName)
    }
  }
}

/** A weight counts at most this many times the group's median, or a peer seldom seen would have a loud voice: fairness against robustness. */
export const WEIGHT_CAP = 4

/** The weights of a group, its own members included, each at most {@link WEIGHT_CAP} times the (lower) median. */
export function capped(weights: readonly number[]): number[] {
  const median = [...weights].sort((a, b) => a - b)[(weights.length - 1) >> 1] ?? 0
  return weights.map((weight) => Math.min(weight, WEIGHT_CAP * median))
}
