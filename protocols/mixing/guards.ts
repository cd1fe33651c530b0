/** What is checked of every message before any rule looks at it. Cheap, stateless, and enough against broken peers; liars need a rule. */
import type { Kernels } from '../../kernels/index.ts'
import { StarlingError } from '../errors.ts'
import { type Measured, type Message, SLICE } from './types.ts'

/** Limits of {@link measure}. */
export interface Guards {
  /** Largest ratio of the two norms, either way. */
  normRatio: number
  /**
   * Largest distance, in units of the larger norm. Two models from different starts are about 1.41 apart (independent vectors), a model and
   * its negative 2.
   */
  distanceRatio: number
}

export const DEFAULT_GUARDS: Readonly<Guards> = { normRatio: 10, distanceRatio: 1.6 }

/** Refuses nothing but values that are not finite. For experiments, and for messages that are differences instead of models. */
export const NO_GUARDS: Readonly<Guards> = {
  normRatio: Number.POSITIVE_INFINITY,
  distanceRatio: Number.POSITIVE_INFINITY,
}

/**
 * Norm of each message and its distance to the own vector, and what the guards say of it. One pass over each message, in slices.
 *
 * Throws StarlingError 'diverged' when the own vector is not finite, 'length-mismatch' when a message is not as long as the own vector.
 */
export function measure(
  kernels: Kernels,
  own: Float32Array,
  messages: readonly Message[],
  guards: Readonly<Guards> = DEFAULT_GUARDS,
): Measured[] {
  const ownNorm = Math.sqrt(kernels.sumSquares(own))
  if (!Number.isFinite(ownNorm)) {
    throw new StarlingError('diverged', 'the own parameters are not finite any more: training diverged', {})
  }
  return messages.map(({ peer, values }) => {
    if (values.length !== own.length) {
      const data = { peer, length: values.length, expected: own.length }
      throw new StarlingError('length-mismatch', `a message has ${values.length} values instead of ${own.length}`, data)
    }
    let squares = 0
    let squaredDistance = 0
    for (let start = 0; start < own.length; start += SLICE) {
      const slice = values.subarray(start, start + SLICE)
      squares += kernels.sumSquares(slice)
      // In double precision no finite float32 values have a sum of squares that is not finite.
      if (!Number.isFinite(squares)) {
        return { peer, distance: Number.NaN, norm: Number.NaN, refused: 'not-finite' as const }
      }
      squaredDistance += kernels.squaredDistance(own.subarray(start, start + SLICE), slice)
    }
    const norm = Math.sqrt(squares)
    const distance = Math.sqrt(squaredDistance)
    const refused = guardFault(ownNorm, norm, distance, guards)
    return { peer, distance, norm, ...(refused === undefined ? {} : { refused }) }
  })
}

/** What the guards say of a message of that norm and distance, both finite. For those who measure in slices and add up. */
export function guardFault(
  own: number,
  norm: number,
  distance: number,
  guards: Readonly<Guards>,
): 'norm' | 'distance' | undefined {
  if (own === 0) {
    // A fragment that is all zero (fresh biases) has no scale to hold a message against.
    return undefined
  }
  if (norm > own * guards.normRatio || norm * guards.normRatio < own) {
    return 'norm'
  }
  return distance > Math.max(own, norm) * guards.distanceRatio ? 'distance' : undefined
}
