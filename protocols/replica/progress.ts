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
