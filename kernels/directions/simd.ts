import { checkLengths } from '../checks.ts'
import { checkCount, checkFirst, checkKey } from './checks.ts'
import { type DirectionKernels, GAUSSIAN_DIVISOR } from './types.ts'

/** What kernels/assembly exports for directions: vectors and the thread's scratch as byte addresses, lengths in elements. */
export interface DirectionExports {
  addSigns(...a: number[]): void
  addGaussians(...a: number[]): void
  perturbSigns(...a: number[]): void
  perturbGaussians(...a: number[]): void
  dotSigns(x: number, key: number, length: number, first: number, scratch: number): number
  dotGaussians(x: number, key: number, length: number, first: number, scratch: number): number
  fromSums(out: number, base: number, sums: number, unit: number, length: number): void
  maxAbs(sums: number, length: number): number
}

/** The SIMD kernels of directions; `at` gives the address of a view, `scratch` is that of memory which no other thread uses. */
export function directionKernels(
  wasm: DirectionExports,
  at: (view: ArrayBufferView) => number,
  scratch: number,
): DirectionKernels {
  return {
    addDirections(sums, keys, coefficients, count, kind, first) {
      checkFirst('addDirections', first, sums.length)
      checkCount('addDirections', keys, coefficients, count)
      const add = kind === 'sign' ? wasm.addSigns : wasm.addGaussians
      add(at(sums), at(keys), at(coefficients), count, sums.length, first, scratch)
    },
    perturb(out, base, key, epsilon, kind, first) {
      checkLengths('perturb', { out, base })
      checkFirst('perturb', first, out.length)
      checkKey('perturb', key)
      if (kind === 'sign') wasm.perturbSigns(at(out), at(base), at(key), epsilon, out.length, first, scratch)
      else wasm.perturbGaussians(at(out), at(base), at(key), epsilon / GAUSSIAN_DIVISOR, out.length, first, scratch)
    },
    fromSums(out, base, sums, unit) {
      checkLengths('fromSums', { out, base, sums })
      wasm.fromSums(at(out), at(base), at(sums), unit, out.length)
    },
    // WebAssembly gives its 32 bits as a signed number.
    maxAbs: (sums) => wasm.maxAbs(at(sums), sums.length) >>> 0,
    dotDirection(x, key, kind, first) {
      checkFirst('dotDirection', first, x.length)
      checkKey('dotDirection', key)
      if (kind === 'sign') return wasm.dotSigns(at(x), at(key), x.length, first, scratch)
      return wasm.dotGaussians(at(x), at(key), x.length, first, scratch) / GAUSSIAN_DIVISOR
    },
  }
}
