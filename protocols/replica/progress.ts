/** Where a replica stands: what goes into a checkpoint beside the vectors. */
export interface Progress {
  /** The vectors are a replica of the run. Before that, round and step are 0. */
  ready: boolean
  /** Rounds this peer is through with. */
  round: number
  /** Its step at the end of that round. */
  roundStep: number
}

/** A peer that has no replica yet. */
export const NO_REPLICA: Progress = { ready: false, round: 0, roundStep: 0 }

/** The progress in a checkpoint; undefined for anything else, and for a peer that had no replica yet. */
export function readProgress(value: Record<string, unknown> | undefined): Progress | undefined {
  const { ready, round, roundStep } = value ?? {}
  const whole = (x: unknown): x is number => Number.isSafeInteger(x) && (x as number) >= 0
  return ready === true && whole(round) && whole(roundStep) ? { ready, round, roundStep } : undefined
}

/** A local phase that takes this many times the usual one, and a minute more, means that the machine slept. */
const SLEPT_FACTOR = 4
const SLEPT_EXTRA = 60_000

/** Whether the machine slept during a local phase of `elapsed` ms, where the latest one in which it was awake took `usual` (0: none yet). */
export function tookASleep(elapsed: number, usual: number): boolean {
  return usual > 0 && elapsed >= SLEPT_FACTOR * usual + SLEPT_EXTRA
}
