/** Pipelines: stages at many peers, microbatches on paths through them, and stages that are lost and rebuilt. See docs/pipeline.md. */
export {
  keptStages,
  MAX_STAGES,
  type PipelineOptions,
  pipelineOptionsSchema,
  quotaOf,
  slotsOf,
  stageCount,
} from './options.ts'
export type { Hop, Path, PathGenerator, PathRequest, Reachable } from './paths/types.ts'
export { pipeline } from './strategy.ts'
export type { EndsState, HeldStage, Holders, LossReason, Quiet } from './types.ts'
