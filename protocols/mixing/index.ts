/**
 * How a peer mixes its own model with those it received. Rules of pair gossip: every peer keeps a model of its own and is the pivot, so two
 * peers need not come to the same bits. What each rule is for, and what it withstands: docs/robustness.md.
 */
export { clipped } from './clipped.ts'
export { coefficientsOf } from './coefficients.ts'
export { combine, type MixingScratch, mixingScratchLength } from './combine.ts'
export { FRAGMENT_ALIGNMENT, fragmentOf, partsIn } from './fragments.ts'
export { DEFAULT_GUARDS, type Guards, guardFault, measure, NO_GUARDS } from './guards.ts'
export { capped, type IntervalOptions, type IntervalRecord, IntervalWeights, WEIGHT_CAP } from './interval-weights.ts'
export { mean } from './mean.ts'
export { addToMean, type CounterfactualGain, consensusError, counterfactualGain, type Score } from './merge.ts'
export { type Mixed, type MixOptions, mix } from './mix.ts'
export { nearest } from './nearest.ts'
export { type Assumption, drawPeers, faultyAmong, pullSize, tail } from './pull.ts'
export { nearestOfRecent, RecentDistances } from './recent.ts'
export type { Group, Measured, Message, MixingRule, Refusal, TensorPart } from './types.ts'
export { type Correction, correctVariance, GUARD_RATIO, targetVariances } from './variance.ts'
