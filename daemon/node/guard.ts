import type { Log } from '../log/index.ts'
import type { RunningNode } from '../types.ts'

/** Milliseconds for a checkpoint and a clean stop after an error that nobody caught; then the process ends without. */
const STOP_TIMEOUT = 5_000

/**
 * Ends the process with code 1 after an error that nobody caught, with a log line and, if it can be had, a checkpoint: what state the node is in then,
 * nobody knows. Returns how to take that back.
 */
export function guardProcess(
  node: Pick<RunningNode, 'stop'>,
  log: Log,
  exit: (code: number) => void = (code) => process.exit(code),
): () => void {
  let failing = false
  const fail = (error: unknown): void => {
    log.error('an error that nobody caught; the node stops', {}, error)
    if (failing) {
      exit(1)
      return
    }
    failing = true
    setTimeout(() => exit(1), STOP_TIMEOUT).unref()
    node.stop('internal error').then(
      () => exit(1),
      () => exit(1),
    )
  }
  process.on('uncaughtException', fail)
  process.on('unhandledRejection', fail)
  return () => {
    process.off('uncaughtException', fail)
    process.off('unhandledRejection', fail)
  }
}
