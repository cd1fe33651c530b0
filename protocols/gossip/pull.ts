/** A pull with an end: whatever holders do, it is given up in time. */
import { StarlingError } from '../errors.ts'
import type { Clock } from '../ports.ts'

/** Whole time of a pull: least, ms, and what a byte adds (2 Mbit/s). */
const PULL_TIMEOUT = 20_000
const SLOWEST = 250

/**
 * Runs `work` with a signal that is aborted when a pull of that many bytes takes too long, or `signal` is. Throws StarlingError 'pull-timeout' in the first case, else what `work` throws.
 */
export async function inTime<T>(
  clock: Clock,
  bytes: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const ended = new AbortController()
  const end = (): void => ended.abort()
  signal.addEventListener('abort', end, { once: true })
  if (signal.aborted) {
    end()
  }
  let late = false
  void clock.sleep(PULL_TIMEOUT + bytes / SLOWEST, ended.signal).then(
    () => {
      late = true
      end()
    },
    () => undefined,
  )
  try {
    return await work(ended.signal)
  } catch (error) {
    if (late && error instanceof StarlingError) {
      throw new StarlingError('pull-timeout', 'it took too long to fetch', { bytes }, { cause: error })
    }
    throw error
  } finally {
    end()
    signal.removeEventListener('abort', end)
  }
}
