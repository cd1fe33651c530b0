/** One hop of one microbatch after the other: what several calls leave in the vector 'stream' must not be mixed up. */

/** What goes first: what clears and steps, then backward passes, which free memory, then forward passes; among equals the oldest. */
export type Urgency = 'now' | 'backward' | 'forward'

const ORDER: Record<Urgency, number> = { now: 0, backward: 1, forward: 2 }

export class WorkQueue {
  /** Bounded by the microbatches that this peer keeps, and a few clears and steps. */
  readonly #waiting: { urgency: number; work: () => Promise<void> }[] = []
  #busy = false

  /** Runs the work when its turn has come; settles as it does. */
  run<T>(urgency: Urgency, work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const order = ORDER[urgency]
      const before = this.#waiting.findIndex((other) => other.urgency > order)
      const at = before < 0 ? this.#waiting.length : before
      this.#waiting.splice(at, 0, { urgency: order, work: () => work().then(resolve, reject) })
      void this.#next()
    })
  }

  async #next(): Promise<void> {
    if (this.#busy) {
      return
    }
    this.#busy = true
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      await next.work()
    }
    this.#busy = false
  }
}
