/** Codes of tensors as kernels: blocks of values that share a scale, half precision, and the largest values of a chunk. */

/** Number of consecutive values that share one scale in the int8, int4 and sign codes. */
export const CODEC_BLOCK = 256

/** Number of consecutive values out of which the top-k code keeps the largest; 12 bits hold a position. */
export const TOPK_CHUNK = 4096

/** Magnitudes above this are refused by the int8 and int4 codes, so that no code times its scale overflows. 2¹²⁷. */
export const LARGEST_CODED = 2 ** 127

/**
 * What stochastic rounding draws from: value number `first + i` of the tensor is rounded by 15 bits that depend on `seed` and that number only, so
 * a message does not depend on how it was cut into slices. Not for secrets.
 */
export interface Dither {
  /** 32 bits; another one for every message, or the errors of messages do not average out. */
  seed: number
  /** Number of the first value in the tensor, below 2³¹; a multiple of {@link CODEC_BLOCK}. */
  first: number
}

/**
 * The kernels of the codes. There are ceil(values / CODEC_BLOCK) scales. Encoders throw a KernelError 'not-finite' at NaN, infinity and what the code
 * cannot hold; decoders take any bytes and check nothing but lengths.
 */
export interface CodecKernels {
  /** One int8 code per value and one float32 scale (largest magnitude / 127) per block; nearest rounding, ties to even. */
  encodeInt8(x: Float32Array, codes: Int8Array, scales: Float32Array): void
  /** The same with stochastic rounding: the mean over seeds is the value, to 2⁻¹⁶ of a scale. */
  encodeInt8Stochastic(x: Float32Array, codes: Int8Array, scales: Float32Array, dither: Dither): void
  /** out <- code * scale of its block. */
  decodeInt8(codes: Int8Array, scales: Float32Array, out: Float32Array): void
  /**
   * Codes from -7 to 7 (scale: largest magnitude / 7), stochastic. Of a block of n values, byte j holds value j in its low half and value
   * j + ceil(n/2) in its high half, both in two's complement.
   */
  encodeInt4(x: Float32Array, codes: Uint8Array, scales: Float32Array, dither: Dither): void
  /** out <- code * scale of its block. */
  decodeInt4(codes: Uint8Array, scales: Float32Array, out: Float32Array): void
  /** One sign bit per value, low bits first, and the block's mean magnitude as its scale, summed in a fixed order. */
  encodeSign(x: Float32Array, signs: Uint8Array, scales: Float32Array): void
  /** out <- scale of its block, negated where the bit is set. */
  decodeSign(signs: Uint8Array, scales: Float32Array, out: Float32Array): void
  /** IEEE 754 half precision, nearest, ties to even. Magnitudes that would become infinite (65520 and above) are refused. */
  encodeFloat16(x: Float32Array, halves: Uint16Array): void
  /** True when no half is NaN or infinite. */
  allFiniteFloat16(halves: Uint16Array): boolean
  /** Finite halves as float32, exactly. */
  decodeFloat16(halves: Uint16Array, out: Float32Array): void
  /**
   * Of every chunk of n ≤ {@link TOPK_CHUNK} values the k = ceil(n * kept / TOPK_CHUNK) of largest magnitude, of equal ones the first:
   *
   *     16 bytes                 what the codes 0..3 stand for, float32, little endian
   *     ceil(12k/8) bytes        positions in the chunk, rising, 12 bits each, low bits first
   *     ceil(2k/8) bytes         codes, 2 bits each, low bits first
   *
   * Codes are four bins over six standard deviations about the mean of the kept values; each stands for the mean of its members, or 0.
   */
  encodeTopK(x: Float32Array, message: Uint8Array, kept: number): void
  /**
   * Number of the first chunk that is not as `encodeTopK` writes it for a tensor of `length` values (table not finite, positions not rising or
   * outside, padding not zero), or -1.
   */
  checkTopK(message: Uint8Array, length: number, kept: number): number
  /** out <- the kept values, 0 elsewhere. Only for messages that `checkTopK` has passed. */
  decodeTopK(message: Uint8Array, out: Float32Array, kept: number): void
}

/** Values kept of a chunk of n. */
export function keptOf(n: number, kept: number): number {
  return Math.ceil((n * kept) / TOPK_CHUNK)
}

/** Bytes of a chunk of which k values are kept. */
export function chunkBytes(k: number): number {
  return 16 + Math.ceil((12 * k) / 8) + Math.ceil((2 * k) / 8)
}

/** Exact bytes of the top-k code of `length` values. */
export function topKBytes(length: number, kept: number): number {
  const rest = length % TOPK_CHUNK
  const whole = ((length - rest) / TOPK_CHUNK) * chunkBytes(kept)
  return rest === 0 ? whole : whole + chunkBytes(keptOf(rest, kept))
}
