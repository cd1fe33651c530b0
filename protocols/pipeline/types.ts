/** What the parts of a pipeline peer know of each other: the flow of microbatches (flow/), and who holds what (holders/). */
import type { Bell } from '../bell.ts'
import type { PeerName } from '../ports.ts'
import type { Reachable } from './paths/types.ts'

/** A stage that this peer holds. Plain data: it goes into the checkpoint. */
export interface HeldStage {
  stage: number
  /** Where in theta: 0, 1, ... */
  place: number
  /** Steps of the run that it has gone through, where it came from included: place in the schedule of learning rates. */
  step: number
  /** Optimizer steps that its moments have taken in; 0 for a fresh optimizer. */
  applied: number
  /** Factor of the learning rate. */
  rate: number
  /** Norm of its last gradient; undefined before its first step. */
  norm?: number
}

/** The ends at a data peer. Plain data: it goes into the checkpoint. */
export interface EndsState {
  step: number
  applied: number
  rate: number
}

/** Why a data peer cannot use a holder. */
export type LossReason = 'disconnected' | 'silent' | 'refused'

/** Who holds what, as this peer sees it, and what it holds itself. Made by protocols/pipeline/holders; the flow only asks. */
export interface Holders extends Pick<Reachable, 'ready' | 'dataPeers'> {
  /** A ready stage of this peer; undefined while it is being taken or given away. The object is the flow's to update after each commit. */
  held(stage: number): HeldStage | undefined
  /** The ends, where this peer is a data peer and has them. The object is the flow's to update after each step. */
  ends(): EndsState | undefined
  /** This peer, as a data peer, cannot use that holder. Until the holder says something newer of itself, {@link ready} leaves it out. */
  suspect(stage: number, peer: PeerName, reason: LossReason): void
  /** A stage, or the ends (0), went through a step: tells the others, and lets keepers fetch the ends. */
  stepped(part: number): void
  speed(peer: PeerName): number | undefined
  /** Rings at every change. */
  readonly bell: Bell
  /** One sentence: what is missing, for the event 'waiting'. */
  waiting(): string | undefined
}

/** What giving a stage away needs of the flow. */
export interface Quiet {
  /**
   * Takes no microbatch of a new step for that stage any more, with 'moved', and resolves when none is under way and no sum waits for its commit; or after
   * QUIET_TIMEOUT, and then what was under way is dropped. `release` takes them again, for a stage that stays.
   */
  quiet(stage: number, signal: AbortSignal): Promise<{ release(): void }>
}
