/** NoLoCo: local training, and every few steps one exchange with one random partner. See docs/noloco.md. */
export type { ExchangePhase } from './meeting.ts'
export { composeMessage, outerStep, outerStepReference, type Replica } from './outer-step.ts'
export { pairsOf, partnerOf, roundOrder, viewHash } from './pairing.ts'
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
