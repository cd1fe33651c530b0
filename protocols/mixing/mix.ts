/** One mixing step of a peer: guards, rule, combination, variance guard. */
import type { Kernels } from '../../kernels/index.ts'
import type { PeerName } from '../ports.ts'
import { coefficientsOf } from './coefficients.ts'
import { combine, type MixingScratch } from './combine.ts'
import { type Guards, measure } from './guards.ts'
import type { Measured, Message, MixingRule, Refusal, TensorPart } from './types.ts'
import { type Correction, correctVariance, targetVariances } from './variance.ts'

/** Options of {@link mix}. */
export interface MixOptions {
  rule: MixingRule
  /** Weight of the own model where a message without a weight has 1. Default 1. */
  ownWeight?: number
  /** Default {@link DEFAULT_GUARDS}. */
  guards?: Readonly<Guards>
  /** Weight matrices, or their parts in this fragment, for the variance guard. Default none: no guard. */
  tensors?: readonly TensorPart[]
}

/** What became of a mixing step. */
export interface Mixed {
  /** Each message's distance to the own model, norm and coefficient (0 when refused), in the order given. */
  messages: (Measured & { coefficient: number })[]
  refused: { peer: PeerName; reason: Refusal }[]
  /** How far the own vector moved, before any correction of the variance. */
  moved: number
  /** Tensors whose variance had vanished and was restored. */
  corrected: Correction[]
}

/**
 * Mixes the own vector, in place, with those received. `own` and the messages are the same fragment of the model, or all of it. With no
 * messages, or none that passes, nothing changes.
 *
 * The same step in parts, for a strategy whose vectors live in another thread: {@link measure} there, {@link coefficientsOf} anywhere (it
 * sees numbers only), {@link combine} there.
 *
 * Throws StarlingError 'diverged', 'length-mismatch' (see {@link measure}), 'bad-weight' and 'duplicate-peer' (see {@link coefficientsOf}).
 */
export function mix(
  kernels: Kernels,
  own: Float32Array,
  messages: readonly Message[],
  { rule, ownWeight = 1, guards, tensors = [] }: MixOptions,
  scratch: MixingScratch,
): Mixed {
  const measured = measure(kernels, own, messages, guards)
  const weights = messages.map(({ weight }) => weight ?? 1)
  const coefficients = coefficientsOf(measured, weights, ownWeight, rule)
  const targets = targetVariances(own, messages, coefficients, tensors)
  const moved = combine(kernels, own, messages, coefficients, scratch)
  const refused: Mixed['refused'] = []
  for (const [i, { peer, refused: fault }] of measured.entries()) {
    if (fault !== undefined || coefficients[i] === 0) {
      refused.push({ peer, reason: fault ?? 'dropped' })
    }
  }
  return {
    messages: measured.map((message, i) => ({ ...message, coefficient: coefficients[i]! })),
    refused,
    moved,
    corrected: correctVariance(own, tensors, targets),
  }
}
