export { Curve } from './curve.ts'
export {
  describeEvent,
  describeOrigin,
  describePipeline,
  describeReachability,
  describeSet,
  describeStages,
  explanationLines,
  formatBytes,
  formatDuration,
  formatLoss,
  formatSeconds,
  readable,
  shortName,
  stageName,
} from './format.ts'
export { describeRole, type FlowView, PipelineView, type Recovery, type StageView } from './pipeline-view.ts'
export { type Exchange, type PeerView, RunView, type TimelineEntry } from './run-view.ts'
export { whyRefused, whySkipped } from './words.ts'
