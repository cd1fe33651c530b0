import { cnn } from './cnn.ts'
import type { ModelConfig } from './config.ts'
import { decoder } from './decoder.ts'
import type { Architecture, TensorDefinition } from './definition.ts'
import { mlp } from './mlp.ts'

const architectures = { decoder, cnn, mlp }

/** The architecture that a configuration asks for. */
export function architectureOf(model: ModelConfig): Architecture {
  return architectures[model.architecture] as Architecture
}

/** The tensors of a model, in the order of the flat vector. */
export function tensorsOf(model: ModelConfig): TensorDefinition[] {
  return architectureOf(model).tensors(model)
}
