export {
  createLog,
  type Log,
  type LogContext,
  type LogLevel,
  type LogOptions,
  quietLog,
  shortName,
} from './log/index.ts'
export { type NodeContext, startNode } from './node/index.ts'
export type { DaemonEvent, NodeEvent, NodeOptions, NodeStatus, PeerStatus, RunningNode } from './types.ts'
