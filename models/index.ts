/** What is trained: engine, parameters, architectures, optimizers, data, tokenizers and checkpoints. */
export * from './architectures/index.ts'
export {
  type BenchEngineOptions,
  type BenchEngineReport,
  benchEngine,
  benchPresets,
  type ModelBench,
} from './bench/index.ts'
export * from './checkpoint/index.ts'
export * from './data/index.ts'
export { type EngineOptions, likelyEngine, openEngine, prepareEngineEnvironment } from './engine/index.ts'
export { ModelError } from './errors.ts'
export { generateText, generateTextAsync } from './generate/index.ts'
export * from './optimizers/index.ts'
export * as portable from './portable-math.ts'
export {
  type ModelSpec,
  modelSchema,
  type PresetName,
  presetNames,
  presets,
  type ResolvedTraining,
  resolveModel,
  resolveTraining,
  sentences,
  type TrainingSpec,
  trainingSchema,
} from './presets/index.ts'
export { createGenerator } from './random.ts'
export * from './stages/index.ts'
export { byteTokenizer } from './tokenizers/index.ts'
export * from './trainer/index.ts'
export type * from './types.ts'
