/** The log of contributions: what it holds, how it is kept, proven and spread. Start with types.ts and log.ts. */

export type {
  Acceptance,
  Branch,
  Change,
  ContributionLog,
  EquivocationProof,
  RefusalReason,
  Segment,
  VersionVector,
} from '../types.ts'
export { type Head, originOf, SIGNATURE_BYTES, statementOf, walk } from './chain.ts'
export { MAX_STEPS } from './limits.ts'
export { createLog, type LogModules, type LogOptions } from './log.ts'
export { decodeRunLog, encodeRunLog, MAX_RUN_LOG_BYTES, type RunLog } from './log-file.ts'
export {
  CONTRIBUTIONS_TOPIC,
  MAX_BATCH,
  news,
  proofAnswer,
  type SegmentEntry,
  SYNC_METHOD,
  segmentsAnswer,
  syncQuestion,
  versionAnswer,
} from './messages.ts'
export { createSync, type Sync, type SyncModules, type SyncOptions } from './sync.ts'
