/** The loops over parameters: own <- own + sum of coefficient * (message - own), in place. */
import type { Kernels } from '../../kernels/index.ts'
import { type Message, SLICE } from './types.ts'

/** Two scratch vectors in the memory of the kernels, each as long as a slice or the own vector, whichever is shorter. */
export interface MixingScratch {
  pull: Float32Array
  difference: Float32Array
}

/** Elements of each vector of {@link MixingScratch} for fragments of up to `length` elements. */
export function mixingScratchLength(length: number): number {
  return Math.min(SLICE, length)
}

/**
 * Mixes in place; returns how far the own vector moved. Messages with coefficient 0 are not read, whatever is in them.
 *
 * The pulls are added up before they are added to the own vector, so models that are equal stay equal to the bit and rounding is relative to
 * the differences, not to the parameters.
 */
export function combine(
  kernels: Kernels,
  own: Float32Array,
  messages: readonly Message[],
  coefficients: readonly number[],
  scratch: MixingScratch,
): number {
  let squares = 0
  for (let start = 0; start < own.length; start += SLICE) {
    const slice = own.subarray(start, start + SLICE)
    const pull = scratch.pull.subarray(0, slice.length)
    const difference = scratch.difference.subarray(0, slice.length)
    pull.fill(0)
    for (const [i, { values }] of messages.entries()) {
      if (coefficients[i] !== 0) {
        difference.set(values.subarray(start, start + slice.length))
        kernels.axpy(difference, -1, slice)
        kernels.axpy(pull, coefficients[i]!, difference)
      }
    }
    kernels.axpy(slice, 1, pull)
    squares += kernels.sumSquares(pull)
  }
  return Math.sqrt(squares)
}
