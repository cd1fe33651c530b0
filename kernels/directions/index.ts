/** Kernels of random directions: what the strategy `spsa` adds to its sums and perturbs parameters along. */
export { chacha8Block, keyWords } from './chacha.ts'
export { type DirectionExports, directionKernels } from './simd.ts'
export { directionTwins } from './twins.ts'
export * from './types.ts'
