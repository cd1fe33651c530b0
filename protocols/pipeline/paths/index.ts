/** How microbatches find their way through the stages: one abstraction, several generators. */
export { type PathsFor, plannedPaths } from './planned.ts'
export { type Lane, randomPaths, replicaFor } from './random.ts'
export { chosenPaths, naturalOrder, sequentialPaths, twinOrder, twinPaths } from './sequential.ts'
export type { Found, Hop, Path, PathGenerator, PathRequest, Reachable } from './types.ts'
