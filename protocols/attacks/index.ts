/**
 * What hostile and broken peers send: the attacks against which mixing rules are tested. Functions from a peer's honest message and what it
 * knows to what it sends, seeded; see docs/robustness.md.
 */
export { attackTasks, type HostileOptions, hostileLearner, type Sending } from './hostile.ts'
export { largestShift, normalQuantile } from './models.ts'
export { createAttack, definitions } from './registry.ts'
export { decoderSymmetries } from './symmetry.ts'
export type { Attack, AttackDefinition, AttackModules, Knowledge, SymmetricTensor, Symmetry } from './types.ts'
