import type { Kernels } from '../../kernels/index.ts'
import { ModelError } from '../errors.ts'
import type { Layout } from '../types.ts'

/**
 * L2 norm of a gradient, and the factor that cuts it to `clip` (0: never).
 * @param step the step it is for, from 1; for the error
 * @throws ModelError 'not-finite' with {step, tensor}
 */
export function clipping(
  kernels: Kernels,
  layout: Layout,
  gradient: Float32Array,
  { clip = 1, step }: { clip?: number | undefined; step: number },
): { gradientNorm: number; gradientScale: number } {
  const gradientNorm = Math.sqrt(kernels.sumSquares(gradient))
  if (!Number.isFinite(gradientNorm)) {
    const bad = layout.tensors.find(
      ({ offset, length }) => !kernels.allFinite(gradient.subarray(offset, offset + length)),
    )
    throw notFinite(step, bad === undefined ? 'gradient' : `gradient of ${bad.name}`)
  }
  return { gradientNorm, gradientScale: clip > 0 && gradientNorm > clip ? clip / gradientNorm : 1 }
}

/** The error of a step that would make the parameters NaN or infinite. */
export function notFinite(step: number, tensor: string): ModelError {
  return new ModelError('not-finite', `step ${step}: the ${tensor} is NaN or infinite`, { step, tensor })
}
