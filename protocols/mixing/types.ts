/** What the parts of a mixing step hand each other: plain data, so that each part can run in another thread. */
import type { PeerName } from '../ports.ts'

/** Elements worked on at a time; 256 KiB per vector, so that what is read twice is still in the processor's cache. */
export const SLICE = 65_536

/** What a peer sent: its model, or one fragment of it, decoded. Never written to. */
export interface Message {
  peer: PeerName
  /** As long as the own vector, and of the same place in the model. */
  values: Float32Array
  /** Weight relative to the own model's 1, before any rule; see interval-weights.ts. Default 1. */
  weight?: number
}

/** Why a message has no part in a mixing step. The first three are guards (guards.ts), the last is a rule's choice. */
export type Refusal = 'not-finite' | 'norm' | 'distance' | 'dropped'

/** What was measured of a message. */
export interface Measured {
  peer: PeerName
  /** Euclidean distance to the own vector; NaN when a value is not finite. */
  distance: number
  /** Euclidean norm; NaN when a value is not finite. */
  norm: number
  refused?: Exclude<Refusal, 'dropped'>
}

/** The messages that passed the guards, as a rule sees them: it needs neither the vectors nor their length. */
export interface Group {
  peers: readonly PeerName[]
  /** Distance of each to the own vector. */
  distances: readonly number[]
  /** Share of each in a plain weighted mean; the own share is 1 minus their sum. */
  shares: readonly number[]
  /** How many others the guards refused: faulty ones that a rule need not look for any more. */
  refused: number
}

/**
 * How much each message pulls: own <- own + sum of coefficient * (message - own). One coefficient per message, none negative, their sum at
 * most 1. Every rule of this folder has this shape, because own-pivot rules look at distances to the own model alone; so the loops over
 * parameters are written once, in combine.ts.
 */
export type MixingRule = (group: Group) => number[]

/** A tensor, or the part of one that lies in the fragment. */
export interface TensorPart {
  name: string
  /** First element, counted from the beginning of the fragment. */
  offset: number
  /** Number of elements. */
  length: number
}
