export { Curve } from './curve.ts'
export { describeEvent, describeSet, formatBytes, formatDuration, formatLoss, readable, shortName } from './format.ts'
export { type Exchange, type PeerView, RunView, type TimelineEntry } from './run-view.ts'
