export { createLearner, type LearnerModules, type LocalLearner } from './learner.ts'
export type { TrainerEngine, TrainerSetup } from './messages.ts'
