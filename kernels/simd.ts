import { readFileSync } from 'node:fs'
import { checkLengths, checkRows } from './checks.ts'
import { type CodecExports, codecKernels } from './codecs/index.ts'
import { adamwConstants } from './constants.ts'
import { type DirectionExports, directionKernels } from './directions/index.ts'
import { KernelError } from './errors.ts'
import type { Kernels } from './types.ts'
import { claimScratch, type SharedVectors } from './vectors.ts'

/** What kernels/assembly/index.ts exports: vectors as byte addresses, lengths in elements. */
interface Exports extends CodecExports, DirectionExports {
  adamw(...a: number[]): void
  sgd(...a: number[]): void
  axpy(y: number, a: number, x: number, length: number): void
  scale(x: number, a: number, length: number): void
  sumSquares(x: number, length: number): number
  squaredDistance(a: number, b: number, length: number): number
  allFinite(x: number, length: number): number
  heavyBall(...a: number[]): void
  scatterAddRows(table: number, ids: number, rows: number, count: number, width: number): void
}

let compiled: WebAssembly.Module | undefined

function compile(): WebAssembly.Module {
  const file = new URL('./kernels.wasm', import.meta.url)
  try {
    compiled ??= new WebAssembly.Module(readFileSync(file))
  } catch (error) {
    throw new KernelError('not-built', `the kernels are not built (npm run build): ${(error as Error).message}`, {
      file: file.href,
    })
  }
  return compiled
}

/**
 * The SIMD kernels over the memory of `vectors`. Every view passed to them must lie in that memory. One call per thread; cheap after the first.
 *
 * @throws KernelError 'not-built' when the build step has not run; from the kernels also 'vector-foreign', 'length-mismatch',
 * 'not-finite' and 'index-range'.
 */
export function loadKernels(vectors: SharedVectors): Kernels {
  const { memory } = vectors
  const abort = () => {
    throw new Error('a kernel aborted')
  }
  const wasm = new WebAssembly.Instance(compile(), { env: { memory, abort } }).exports as unknown as Exports

  /** Address of a view, after making sure that it lies in this memory. */
  function at(view: ArrayBufferView): number {
    if (view.buffer !== memory.buffer) {
      throw new KernelError('vector-foreign', 'a vector does not lie in the shared memory of these kernels', {
        bytes: view.byteLength,
      })
    }
    return view.byteOffset
  }

  return {
    kind: 'simd',
    ...codecKernels(wasm, at),
    ...directionKernels(wasm, at, claimScratch(memory)),
    adamw(theta, gradient, m, v, options) {
      checkLengths('adamw', { theta, gradient, m, v })
      const c = adamwConstants(options)
      wasm.adamw(
        at(theta),
        at(gradient),
        at(m),
        at(v),
        theta.length,
        c.gradientScale,
        c.beta1,
        c.oneMinusBeta1,
        c.beta2,
        c.oneMinusBeta2,
        c.correction1,
        c.correction2,
        c.epsilon,
        c.learningRate,
        c.keep,
      )
    },
    sgd(theta, gradient, velocity, { gradientScale, momentum, weightDecay, learningRate }) {
      checkLengths('sgd', { theta, gradient, velocity })
      wasm.sgd(at(theta), at(gradient), at(velocity), theta.length, gradientScale, momentum, weightDecay, learningRate)
    },
    axpy(y, a, x) {
      checkLengths('axpy', { y, x })
      wasm.axpy(at(y), a, at(x), y.length)
    },
    scale(x, a) {
      wasm.scale(at(x), a, x.length)
    },
    sumSquares: (x) => wasm.sumSquares(at(x), x.length),
    squaredDistance(a, b) {
      checkLengths('squaredDistance', { a, b })
      return wasm.squaredDistance(at(a), at(b), a.length)
    },
    allFinite: (x) => wasm.allFinite(at(x), x.length) === 1,
    heavyBall(phi, delta, theta, own, partner, { alpha, beta }) {
      checkLengths('heavyBall', { phi, delta, theta, own, partner })
      wasm.heavyBall(at(phi), at(delta), at(theta), at(own), at(partner), phi.length, alpha, beta)
    },
    scatterAddRows(table, ids, rows, width) {
      checkRows(table, ids, rows, width)
      wasm.scatterAddRows(at(table), at(ids), at(rows), ids.length, width)
    },
  }
}
