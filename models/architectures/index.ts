/** The models that can be trained, and how their parameters lie in one flat vector. */
export type { CnnConfig, DecoderConfig, MlpConfig, ModelConfig } from './config.ts'
export type { Architecture, TensorDefinition } from './definition.ts'
export { initialize, layoutOf } from './layout.ts'
export { architectureOf, tensorsOf } from './registry.ts'
