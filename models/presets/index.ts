export { sentences } from '../fields.ts'
export { type ModelSpec, modelSchema, type PresetName, presetNames, presets, resolveModel } from './model.ts'
export { type ResolvedTraining, resolveTraining, type TrainingSpec, trainingSchema } from './training.ts'
