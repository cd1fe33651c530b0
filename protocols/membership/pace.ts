/**
 * How often a peer speaks. A heartbeat passes through every peer of the mesh in some copies, about 3.3 kB sent by each one, so a fixed interval would
 * cost everybody the more the more members there are (98 kB/s at 64). The interval grows with the members instead, so that all of them together
 * send about four heartbeats in five seconds, and every heartbeat tells its interval: peers whose views differ do not take each other for dead.
 */

/** Shortest interval, ms; up to three members have it, whose messages make few copies. */
const MIN_INTERVAL = 2_000

/** Share of one member more in the interval, ms. */
const INTERVAL_PER_MEMBER = 1_250

/** Longest interval that is believed, ms: somewhat more than 1,024 members have. */
export const MAX_INTERVAL = 30 * 60_000

/** A last heartbeat may take this long, and some more may get lost where they are frequent, ms. */
const PATIENCE = 4_000

/** Within this time, ms, a newcomer hears of everybody, as far as everybody has heartbeats left to send. */
export const WELCOME = 3_000

/** Shortest time between two heartbeats of a peer, ms; news in between goes out with the next one. */
export const HEARTBEAT_GAP = 100

/** Heartbeats that may be sent at once, for news, after a rest. */
const BURST = 5

/** News may make a peer speak more often than every interval, in the long run by this factor. */
const NEWS = 1.1

/** Longest time to the next heartbeat of a peer that sees so many others, ms. */
export function intervalFor(others: number): number {
  return Math.max(MIN_INTERVAL, INTERVAL_PER_MEMBER * (others - 1))
}

/** Without a heartbeat for so long, ms, a peer that told this interval is silent: one heartbeat may get lost, at the shortest interval three. */
export function silentAfter(interval: number): number {
  return 2 * interval + PATIENCE
}

/** A token bucket for what one peer sends. Its rate follows the number of members as the interval does. */
export class Pace {
  #tokens = BURST
  #at = Number.NEGATIVE_INFINITY

  /** Whether news may go out now. Spends nothing. */
  allows(now: number, others: number): boolean {
    this.#refill(now, others)
    return this.#tokens >= 1
  }

  /** Counts a heartbeat, also one that had to go out although nothing was left. */
  spend(now: number, others: number): void {
    this.#refill(now, others)
    this.#tokens = Math.max(-BURST, this.#tokens - 1)
  }

  #refill(now: number, others: number): void {
    const gap = Math.max(HEARTBEAT_GAP, (INTERVAL_PER_MEMBER * (others - 1)) / NEWS)
    this.#tokens = Math.min(BURST, this.#tokens + (now - this.#at) / gap)
    this.#at = now
  }
}
