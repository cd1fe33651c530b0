/** Ctrl-C and its kin. */

/** Milliseconds for a clean stop; then the process ends without. */
export const STOP_TIMEOUT = 8_000

/** Exit code after the second Ctrl-C, as shells expect. */
const INTERRUPTED = 130

/**
 * Calls `stop` on the first SIGINT, SIGTERM or SIGHUP; the second one, or a stop that takes too long, ends the process at once. Returns how to take that
 * back.
 */
export function onInterrupt(stop: (signal: string) => void, say: (text: string) => void): () => void {
  let asked = false
  const handle = (signal: NodeJS.Signals): void => {
    if (asked) process.exit(INTERRUPTED)
    asked = true
    say('Stopping with a checkpoint; once more stops at once.')
    setTimeout(() => {
      say(`Stopping took longer than ${STOP_TIMEOUT / 1000} s; the last checkpoint counts.`)
      process.exit(1)
    }, STOP_TIMEOUT).unref()
    stop(signal)
  }
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const signal of signals) process.on(signal, handle)
  return () => {
    for (const signal of signals) process.off(signal, handle)
  }
}
