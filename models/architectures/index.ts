/** The models that can be trained, and how their parameters lie in one flat vector. */
export type { CnnConfig, DecoderConfig, MlpConfig, ModelConfig } from './config.ts'
export type { Architecture, TensorDefinition } from './definition.ts'
export { initialize, layoutOf, placeTensors } from './layout.ts'
export { architectureOf, forwardLayers, forwardModel, tensorsOf } from './registry.ts'
