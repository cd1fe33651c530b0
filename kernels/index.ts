/**
 * The hot loops of Starling and the shared memory they work in.
 *
 * @example
 * const vectors = SharedVectors.create({ theta: { type: 'float32', length: 1_000_000 } })
 * const kernels = loadKernels(vectors)
 * kernels.scale(vectors.float32('theta'), 0.5)
 */
export { CODEC_BLOCK, type CodecKernels, type Dither, LARGEST_CODED, TOPK_CHUNK, topKBytes } from './codecs/index.ts'
export {
  DIRECTION_GROUP,
  DIRECTION_KEY_BYTES,
  type DirectionKernels,
  type DirectionKind,
  GAUSSIAN_DIVISOR,
} from './directions/index.ts'
export { KernelError } from './errors.ts'
export { loadKernels } from './simd.ts'
export { twins } from './twins.ts'
export * from './types.ts'
export { SharedVectors, type VectorEntry, type VectorsHandle } from './vectors.ts'
