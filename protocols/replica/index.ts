/** A peer's own replica of the model, for strategies without a common base: where it stands, and how a joiner gets one from another peer. */
export {
  type FetchedReplica,
  fetchReplica,
  giveReplicas,
  MAX_CLAIMED_ROUND,
  newestRound,
  REPLICA_METHOD,
  type ReplicaTasks,
  replicaAnswer,
} from './fetch.ts'
export { NO_REPLICA, type Progress, readProgress, tookASleep } from './progress.ts'
