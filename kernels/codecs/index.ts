/** Kernels of the codes in which tensors travel (protocols/codecs puts their parts together to messages). */
export { type CodecExports, codecKernels } from './simd.ts'
export { codecTwins } from './twins.ts'
export * from './types.ts'
