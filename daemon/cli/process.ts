/** Ctrl-C and its kin. */

/** Milliseconds for a clean stop; then the process ends without. */
export const STOP_TIMEOUT = 8_000

/**
 * Signals that come within this many milliseconds of the first are the same request: a launcher may send to us and then to our whole process group, as
 * GNU timeout does, or pass on what the terminal has sent to everybody. A little more than that takes on a busy machine.
 */
const ECHO_TIME = 1_000

/** Exit code after the second Ctrl-C, as shells expect. */
const INTERRUPTED = 130

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** What {@link onInterrupt} needs of the process; tests have one of their own. */
export interface Interruptible {
  on(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown
  off(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown
  exit(code: number): void
  /** Milliseconds on a clock that is never set. */
  now(): number
}

const thisProcess: Interruptible = {
  on: (signal, listener) => process.on(signal, listener),
  off: (signal, listener) => process.off(signal, listener),
  exit: (code) => process.exit(code),
  now: () => performance.now(),
}

/**
 * Calls `stop` on the first SIGINT, SIGTERM or SIGHUP; a second one that is no echo of it, or a stop that takes too long, ends the process at
 * once. `saves`: a stop writes a checkpoint, and what is said of it says so. Returns how to take that back.
 */
export function onInterrupt(
  stop: (signal: string) => void,
  say: (text: string) => void,
  { saves = true, on = thisProcess }: { saves?: boolean; on?: Interruptible } = {},
): () => void {
  let askedAt: number | undefined
  let late: NodeJS.Timeout | undefined
  const handle = (signal: NodeJS.Signals): void => {
    const now = on.now()
    if (askedAt !== undefined) {
      if (now - askedAt >= ECHO_TIME) on.exit(INTERRUPTED)
      return
    }
    askedAt = now
    say(`Stopping${saves ? ' with a checkpoint' : ''}; once more stops at once.`)
    late = setTimeout(() => {
      say(`Stopping took longer than ${STOP_TIMEOUT / 1000} s${saves ? '; the last checkpoint counts' : ''}.`)
      on.exit(1)
    }, STOP_TIMEOUT).unref()
    stop(signal)
  }
  for (const signal of SIGNALS) on.on(signal, handle)
  return () => {
    clearTimeout(late)
    for (const signal of SIGNALS) on.off(signal, handle)
  }
}
