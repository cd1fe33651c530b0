/** Waiting for a change of state, without polling. */
import type { Clock } from './ports.ts'

const RUNG = 'rung'

/** Wakes everyone who waits for it. */
export class Bell {
  /** Waiters; each leaves by itself after its time, so they are bounded by the calls of {@link wait} under way. */
  readonly #waiters = new Set<() => void>()

  /** Wakes all waiters. */
  ring(): void {
    for (const wake of [...this.#waiters]) {
      wake()
    }
  }

  /** Resolves at the next ring, after `milliseconds`, or when the signal aborts, whichever is first. Never rejects. */
  async wait(clock: Clock, milliseconds: number, signal?: AbortSignal): Promise<void> {
    if (milliseconds <= 0 || signal?.aborted === true) {
      return
    }
    const over = new AbortController()
    // With a reason of our own: the usual one is an error with a stack, which costs more than all the rest.
    const wake = (): void => over.abort(RUNG)
    this.#waiters.add(wake)
    signal?.addEventListener('abort', wake, { once: true })
    try {
      await clock.sleep(milliseconds, over.signal)
    } catch {
      // Woken: the caller looks at the state again.
    } finally {
      this.#waiters.delete(wake)
      signal?.removeEventListener('abort', wake)
    }
  }
}
