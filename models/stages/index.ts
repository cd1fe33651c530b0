/** A model cut into stages, and the training of those that one peer of a pipeline holds. */
export {
  assembleStages,
  type CutOptions,
  cutModel,
  type ModelCut,
  type PlacedRange,
  stageLayouts,
  wholeRanges,
} from './cut.ts'
export type { PlaceStep } from './place.ts'
export type { StageSource } from './sources.ts'
export { type StagePlace, StageTrainer, type StageTrainerOptions } from './trainer.ts'
export { momentNames, placeBegin, stageVectors } from './vectors.ts'
