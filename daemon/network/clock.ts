/** Real time for the protocols. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Clock } from '../../protocols/index.ts'

/**
 * Milliseconds since the epoch as the machine's clock had it when the process began; monotonic from there on, so that a correction of
 * the clock is never seen as time going back.
 */
export const systemClock: Clock = {
  now: () => performance.timeOrigin + performance.now(),
  sleep: async (milliseconds, signal) => {
    if (signal?.aborted) throw signal.reason
    try {
      await delay(Math.max(0, milliseconds), undefined, signal === undefined ? {} : { signal })
    } catch (error) {
      throw signal?.aborted ? signal.reason : error
    }
  },
}
