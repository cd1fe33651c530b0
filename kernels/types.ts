/**
 * What the hot loops take and give. Every vector lies in one shared `WebAssembly.Memory` (see {@link SharedVectors}),
 * starts on a 64-byte boundary and is worked on in place, so the network thread, the trainer thread and TensorFlow
 * all see the same bytes without a copy.
 *
 * Arithmetic is single precision with every operation rounded on its own (no fused multiply-add, no relaxed SIMD), and
 * sums are taken in a fixed order, so the same inputs give the same bits on every machine and in the plain TypeScript twins.
 */
import type { CodecKernels } from './codecs/index.ts'
import type { DirectionKernels } from './directions/index.ts'

/** Element type of a shared vector. */
export type VectorType = 'float32' | 'int8' | 'uint8' | 'int32'

/** Name, element type and length (in elements) of each vector in a shared memory. */
export type VectorSpec = Record<string, { type: VectorType; length: number }>

/** Constants of one AdamW step (Loshchilov & Hutter 2019, algorithm 2). */
export interface AdamWOptions {
  /** Learning rate of this step, already scheduled. */
  learningRate: number
  beta1: number
  beta2: number
  epsilon: number
  /** Decoupled weight decay; multiplied by the learning rate. */
  weightDecay: number
  /** 1 for the first step: both moments are divided by 1 - betaᵗ. */
  step: number
  /** Factor applied to the gradient as it is read (clipping, accumulation). */
  gradientScale: number
}

/** Constants of one step of stochastic gradient descent with heavy-ball momentum. */
export interface SgdOptions {
  learningRate: number
  momentum: number
  weightDecay: number
  gradientScale: number
}

/** Constants of one NoLoCo outer step with gamma = beta (see protocols/noloco). */
export interface HeavyBallOptions {
  /** Momentum of the outer step. */
  alpha: number
  /** Outer learning rate, and with gamma = beta also the pull towards the partner. */
  beta: number
}

/** The kernels. All vectors of one call have equal length unless said otherwise; a mismatch throws a KernelError. */
export interface Kernels extends CodecKernels, DirectionKernels {
  /** Which of the two implementations this is. */
  readonly kind: 'simd' | 'twin'
  /** theta, m, v <- one fused AdamW step on gradient. One pass. */
  adamw(theta: Float32Array, gradient: Float32Array, m: Float32Array, v: Float32Array, options: AdamWOptions): void
  /** theta, velocity <- one fused SGD step: velocity = momentum * velocity + g + decay * theta; theta -= lr * velocity. */
  sgd(theta: Float32Array, gradient: Float32Array, velocity: Float32Array, options: SgdOptions): void
  /** y <- y + a * x. */
  axpy(y: Float32Array, a: number, x: Float32Array): void
  /** x <- a * x. */
  scale(x: Float32Array, a: number): void
  /** Sum of squares, accumulated in double precision in a fixed order. */
  sumSquares(x: Float32Array): number
  /** Sum of squared differences, accumulated in double precision in a fixed order. */
  squaredDistance(a: Float32Array, b: Float32Array): number
  /** True when no element is NaN or infinite. */
  allFinite(x: Float32Array): boolean
  /**
   * NoLoCo outer step with gamma = beta: delta <- alpha*delta + beta*((own + partner)/2 - phi); phi <- phi + delta;
   * theta <- phi. `own` and `partner` are the two exchanged fast weights; pass `own` twice to step alone.
   */
  heavyBall(
    phi: Float32Array,
    delta: Float32Array,
    theta: Float32Array,
    own: Float32Array,
    partner: Float32Array,
    options: HeavyBallOptions,
  ): void
  /** table[ids[i]] += rows[i] for every i in order; rows is [ids.length, width], table is [rows of table, width]. */
  scatterAddRows(table: Float32Array, ids: Int32Array, rows: Float32Array, width: number): void
}
