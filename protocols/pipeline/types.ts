/** What the flow of microbatches (flow/) knows of who holds what (holders/). */
import type { Bell } from '../bell.ts'
import type { StageOrigin } from '../events.ts'
import type { PeerName, StagePlace } from '../ports.ts'
import type { LOSS_REASONS } from './messages.ts'

/** A part of the model that this peer holds: the ends (0) or a stage. Changed by its owner only, so never kept over an await. */
export interface Held {
  readonly stage: number
  /** Where in theta. */
  readonly place: StagePlace
  /** Steps of the run that it has gone through, wherever it was: place in the schedule of learning rates. */
  readonly step: number
  /** Optimizer steps that its moments have taken in; 0 for a fresh optimizer. */
  readonly applied: number
  /** Factor of the learning rate. */
  readonly rate: number
  /** Norm of its last gradient; undefined before its first step. */
  readonly norm?: number | undefined
  /** How many times the whole run was set back to a checkpoint. */
  readonly epoch: number
}

/** Why a data peer cannot use a holder. */
export type LossReason = (typeof LOSS_REASONS)[number]

/** Who holds what, as this peer sees it, and what it holds itself. Part 0 is the ends: its holders are the data peers. */
export interface Holders {
  /** Deals, takes, gives and rebuilds parts from now on; resolves at once. */
  start(signal: AbortSignal): Promise<void>
  stop(): Promise<void>
  /** Ready holders of a part, best first, this peer included; suspects and the disconnected are left out. */
  ready(part: number): readonly PeerName[]
  /** Holders of the ends, sorted by name. */
  dataPeers(): readonly PeerName[]
  /** What this peer holds and must serve; undefined where it does not, or gives it away just now. */
  held(part: number): Held | undefined
  holds(): readonly Held[]
  /** A part has gone through the step: told to the others. A hand-over happens inside, so that {@link held} may be undefined afterwards. */
  update(part: number, done: { step: number; norm: number }): void
  /** Mean ms per row of a forward and backward pass here. */
  measured(milliseconds: number): void
  /** This peer, as a data peer, cannot use that holder; left out of {@link ready} until it says something newer of itself. */
  suspect(stage: number, peer: PeerName, reason: LossReason): void
  /** Rings at every change. */
  readonly bell: Bell
  speed(peer: PeerName): number | undefined
  /** One sentence: what is missing, for the event 'waiting'. */
  waiting(): string | undefined
  /** How that holder came by the stage. */
  origin(stage: number, peer: PeerName): StageOrigin | undefined
  /** Parameters of a part, from any ready holder. */
  fetch(part: number, into: Float32Array, signal: AbortSignal): Promise<{ step: number }>
  /** This data peer is through and has put the whole model together. */
  finish(): void
  /** All data peers are through: nothing is dealt or rebuilt any more. */
  finished(): boolean
  /** What the checkpoint keeps. */
  progress(): Record<string, unknown>
}
