/** A report about one node in one file, to be handed to whoever looks for a fault. */
export { pack } from './archive.ts'
export { type CollectOptions, collect, type Part } from './collect.ts'
