/** Pipelines: stages at many peers, microbatches on paths through them, and stages that are lost and rebuilt. See docs/pipeline.md. */

export { createHolders, type HoldersConfig, holdersVectors, STAGES_TOPIC } from './holders/index.ts'
export {
  keptStages,
  MAX_STAGES,
  type PipelineOptions,
  pipelineOptionsSchema,
  quotaOf,
  ROUTINGS,
  slotsOf,
  stageCount,
} from './options.ts'
export {
  chosenPaths,
  type Hop,
  type Lane,
  naturalOrder,
  type Path,
  type PathGenerator,
  type PathRequest,
  plannedPaths,
  type Reachable,
  randomPaths,
  replicaFor,
  sequentialPaths,
  twinOrder,
  twinPaths,
} from './paths/index.ts'
export { recoveryRules } from './recovery.ts'
export * as skippipe from './skip/index.ts'
export { type PipelineModules, pipeline } from './strategy.ts'
export type { Held, Holders, LossReason } from './types.ts'
