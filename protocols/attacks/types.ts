/** What an attack sees and what it does. For tests, experiments and test peers (`--attack sign-flip:1`); a daemon never attacks by itself. */
import type { Random } from '../ports.ts'

/** What a hostile peer knows when it is about to send. */
export interface Knowledge {
  /**
   * Messages of honest peers that it knows of this time, its own honest one included: all of them for an omniscient attacker, those that
   * it received for a real one.
   */
  honest: readonly Float32Array[]
  /** The vector from which its own local steps began: what it held after the last mixing. */
  before: Float32Array
  /** Peers in all and faulty ones among them, as far as it knows. */
  peers: number
  faulty: number
}

/** Turns the own honest message, the whole model, in place into what is sent. A peer that sends fragments cuts them from the result. */
export type Attack = (message: Float32Array, knowledge: Knowledge) => void

/** What an attack is made from. */
export interface AttackModules {
  random: Random
  /** Symmetries of the model, for attacks that use them. */
  symmetries: readonly Symmetry[]
}

/** One kind of attack. */
export interface AttackDefinition {
  readonly name: string
  /** What it does, in a few words. */
  readonly summary: string
  /** What the number behind the colon means. */
  readonly strength: { meaning: string; default: number; least: number }
  create(strength: number, modules: AttackModules): Attack
}

/**
 * Hidden units that can be exchanged and scaled without changing what a model computes, and the tensors in which they appear. See symmetry.ts.
 */
export interface Symmetry {
  units: number
  tensors: readonly SymmetricTensor[]
}

/** A row-major tensor seen as [outer, units, inner], `inner` being the values of one unit that lie together. */
export interface SymmetricTensor {
  /** Its first element in the vector. */
  offset: number
  outer: number
  inner: number
  /** 1 when it is multiplied by a unit's scale, -1 when divided, 0 when neither. */
  power: 1 | 0 | -1
}
