/** Error feedback: what makes coarse codes converge, and which code and memory fit which kind of exchange. */
export { type Exchange, type Part, partFault, type Sending, sendingFault } from './combinations.ts'
export {
  createFeedback,
  type Feedback,
  type FeedbackOptions,
  type FeedbackSlice,
  type MemoryName,
  type StateName,
} from './memory.ts'
export { followReplica, stepTowardsReplicas } from './replicas.ts'
