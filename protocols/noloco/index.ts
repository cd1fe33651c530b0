/** NoLoCo: local training, and every few steps one exchange with one random partner. See docs/noloco.md. */
export { Exchange as NolocoExchange } from './exchange.ts'
export { Ledger as NolocoLedger } from './ledger.ts'
export type { ExchangePhase, Meeting as NolocoMeeting } from './meeting.ts'
export type { ExchangeSwarm } from './messages.ts'
export { composeMessage, outerStep, outerStepReference, type Replica } from './outer-step.ts'
export { pairsOf, partnerOf, roundOrder, viewHash } from './pairing.ts'
export { Reach } from './reach.ts'
export {
  consensusBound,
  constantsOf,
  meanBound,
  type NolocoOptions,
  nolocoOptionsSchema,
  type OuterConstants,
  stabilityFault,
} from './stability.ts'
export { type NolocoModules, noloco } from './strategy.ts'
export { encodeTask, inspectTask, stepTask, TENSOR_SLICE, type TensorOptions } from './tasks.ts'
