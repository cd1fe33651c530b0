/** A microbatch of a data peer on its way. */
import type { PeerName, StageSource } from '../../ports.ts'
import type { PassId } from '../messages.ts'
import type { Path } from '../paths/types.ts'
import type { LossReason } from '../types.ts'

/** A microbatch did not come back, and which hop that is laid to. */
export class PathFailure extends Error {
  readonly stage: number
  readonly peer: PeerName
  readonly reason: LossReason
  readonly code: string

  constructor(stage: number, peer: PeerName, loss: { reason: LossReason; code: string }) {
    super(`stage ${stage} at ${peer}: ${loss.code}`)
    this.stage = stage
    this.peer = peer
    this.reason = loss.reason
    this.code = loss.code
  }
}

/** What came back. */
export interface TripResult {
  loss: number
  samples: number
  right: number
  /** Of a text that is to be continued. */
  logits?: Float32Array
}

/** What is sent on its way. */
export interface TripOrder {
  id: PassId
  path: Path
  source: StageSource
  /** Memory from {@link DataSide.slots}; given back when the trip has ended. */
  slot: number
}

/** A microbatch of this data peer that is under way. */
export interface Trip extends TripOrder {
  rows: number
  /** embedding, then out; turned at the head; back. */
  phase: 'begun' | 'out' | 'turned'
  arrived: Promise<void> | undefined
  gradient: Promise<void> | undefined
  result: TripResult
  begunAt: number
  /** Latest sign that something moves, and what the hops said then. */
  sign: number
  states: string
  /** Aborted when it has ended, whatever how. */
  readonly ended: AbortController
  /** Aborted when the peer to which something is being handed is known to have it. */
  handed: AbortController
  readonly resolve: (result: TripResult) => void
  readonly reject: (error: unknown) => void
}

/** Ends a trip, if it has not ended: whoever waits for it hears of the error. */
export function fail({ ended }: Trip, error: unknown): void {
  if (!ended.signal.aborted) {
    ended.abort(error)
  }
}
