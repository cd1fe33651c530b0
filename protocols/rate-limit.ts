/** Rate limits by the generic cell rate algorithm (ITU-T I.371): one number per key, exact, no timers. */

/** Options of {@link RateLimit}. */
export interface RateLimitOptions {
  /** Units allowed per second in the long run. */
  rate: number
  /** Units that may be spent at once after a rest. */
  burst: number
  /** Keys remembered at once. When full, the key closest to having recovered is forgotten. */
  keys: number
}

/** A limit for every key of its own, e.g. one per peer. */
export class RateLimit {
  readonly #perUnit: number
  readonly #tolerance: number
  readonly #keys: number
  /** Theoretical arrival time per key, ms. Bounded by `keys`; recovered keys are dropped first. */
  readonly #arrivals = new Map<string, number>()

  constructor(options: RateLimitOptions) {
    this.#perUnit = 1000 / options.rate
    this.#tolerance = options.burst * this.#perUnit
    this.#keys = options.keys
  }

  /** Milliseconds until `cost` units may be spent by `key`; 0 when they may be spent now. Spends nothing. */
  delay(key: string, cost: number, now: number): number {
    const arrival = Math.max(this.#arrivals.get(key) ?? now, now)
    return Math.max(0, arrival + cost * this.#perUnit - now - this.#tolerance)
  }

  /** Spends `cost` units of `key` whether or not there is room, so that waiting for the returned delay keeps the rate. */
  spend(key: string, cost: number, now: number): number {
    const delay = this.delay(key, cost, now)
    const arrival = Math.max(this.#arrivals.get(key) ?? now, now)
    if (!this.#arrivals.has(key) && this.#arrivals.size >= this.#keys) {
      this.#forget(now)
    }
    this.#arrivals.set(key, arrival + cost * this.#perUnit)
    return delay
  }

  /** Spends `cost` units when there is room now; false, and nothing spent, otherwise. */
  allow(key: string, cost: number, now: number): boolean {
    if (this.delay(key, cost, now) > 0) {
      return false
    }
    this.spend(key, cost, now)
    return true
  }

  /** Forgets a key, e.g. of a peer that has gone. */
  delete(key: string): void {
    this.#arrivals.delete(key)
  }

  /** Number of keys remembered. */
  get size(): number {
    return this.#arrivals.size
  }

  #forget(now: number): void {
    let earliest: string | undefined
    let earliestArrival = Number.POSITIVE_INFINITY
    for (const [key, arrival] of this.#arrivals) {
      if (arrival <= now) {
        this.#arrivals.delete(key)
      } else if (arrival < earliestArrival) {
        earliest = key
        earliestArrival = arrival
      }
    }
    if (this.#arrivals.size >= this.#keys && earliest !== undefined) {
      this.#arrivals.delete(earliest)
    }
  }
}
