import type { Graph, Value } from '../ops/graph.ts'
import type { Batch } from '../types.ts'
import type { ModelConfig } from './config.ts'

/** How one tensor of a model starts, and how it is treated by the optimizer. */
export interface TensorDefinition {
  /** Name in the safetensors file. */
  name: string
  shape: readonly number[]
  /** Standard deviation of a bell-shaped start, or a constant. */
  start: { deviation: number } | { constant: number }
  /** Whether weight decay applies; false for norms and biases. */
  decay: boolean
}

/** One architecture: its tensors in the order in which they lie in the flat vector, and its forward pass. */
export interface Architecture<Config extends ModelConfig = ModelConfig> {
  /** @throws ModelError 'bad-model' naming the key, its value and what is allowed. */
  tensors(config: Config): TensorDefinition[]
  /** Logits, [samples, classes]; samples are the tokens of a text batch in row order, or the images. */
  logits(graph: Graph, config: Config, batch: Batch): Value
}
