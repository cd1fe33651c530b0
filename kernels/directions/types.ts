/** Elements whose signs come from four consecutive blocks of the generator; directions are worked on from a multiple of it. */
export const DIRECTION_GROUP = 2048

/** Bytes of the key of a direction. */
export const DIRECTION_KEY_BYTES = 32

/**
 * How a direction z is drawn from the key stream of ChaCha8 (Bernstein 2008, "ChaCha, a variant of Salsa20", with 8 rounds, a 64-bit counter of
 * blocks and zero nonce). Any group of elements can be drawn alone, and four consecutive blocks fill the four lanes of a vector.
 *
 * - `sign`: z = ±1. The bit of element p is bit (p >> 2) & 31 of word (p >> 7) & 15 of block 4 (p >> 11) + (p & 3); 1 means +1.
 * - `gaussian`: z = (ones in a word of 32 bits - 16) / √8, a binomial of mean 0 and variance 1 in place of the normal distribution: its numerator is an
 *   integer, so that sums of directions are. The word of element p is word (p >> 2) & 15 of block 4 (p >> 6) + (p & 3).
 */
export type DirectionKind = 'sign' | 'gaussian'

/** z of a `gaussian` direction is its integer numerator divided by this, √8 (IEEE square root: the same bits everywhere). */
export const GAUSSIAN_DIVISOR = Math.sqrt(8)

/**
 * The kernels of random directions. A vector may be a part of a whole one: `first` is the number in it of the vector's first element, a multiple of
 * {@link DIRECTION_GROUP} below 2^31. A key has {@link DIRECTION_KEY_BYTES}.
 */
export interface DirectionKernels {
  /**
   * sums += Σ coefficient * numerator of z, over the first `count` keys (rows of 32 bytes) and coefficients; integers modulo 2^32, so the order does
   * not matter. The numerator of a `sign` direction is z. The caller makes sure that nothing overflows.
   */
  addDirections(
    sums: Int32Array,
    keys: Uint8Array,
    coefficients: Int32Array,
    count: number,
    kind: DirectionKind,
    first: number,
  ): void
  /** out <- base + epsilon * z; for `gaussian` epsilon / √8, rounded to single precision, times the numerator. */
  perturb(
    out: Float32Array,
    base: Float32Array,
    key: Uint8Array,
    epsilon: number,
    kind: DirectionKind,
    first: number,
  ): void
  /** out <- base - unit * sums, one multiplication and one subtraction in double precision, rounded once to single precision. */
  fromSums(out: Float32Array, base: Float32Array, sums: Int32Array, unit: number): void
  /** The largest magnitude, 0 for no sums; that of -2^31 is 2^31. */
  maxAbs(sums: Int32Array): number
  /** Σ x z, accumulated in double precision in a fixed order. */
  dotDirection(x: Float32Array, key: Uint8Array, kind: DirectionKind, first: number): number
}
