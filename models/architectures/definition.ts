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
  /** Number of the layer that it belongs to, from 0; left out for what is in no layer: it belongs to the ends. */
  layer?: number
}

/**
 * One architecture: its tensors in the order in which they lie in the flat vector, and its forward pass in the parts in which a pipeline may cut it. The ends, embed and
 * head, stay with a peer that has data; the layers between them can be dealt to others in consecutive runs. What goes from one to the next is the stream.
 */
export interface Architecture<Config extends ModelConfig = ModelConfig> {
  /** The key of the configuration that says how many layers there are, for errors. */
  readonly layersKey: string
  /** @throws ModelError 'bad-model' naming the key, its value and what is allowed. */
  tensors(config: Config): TensorDefinition[]
  /** Number of layers. */
  layers(config: Config): number
  /**
   * Shape of one row (a sequence, an image) in the stream after the first `layers` layers; the first side is that of the row's samples, so that n rows have n times that.
   */
  stream(config: Config, layers: number): readonly number[]
  /** The stream as it enters the first layer. @throws ModelError 'wrong-data' for a batch of another kind. */
  embed(graph: Graph, config: Config, batch: Batch): Value
  /** The stream after layer `index`, of `rows` rows. */
  layer(graph: Graph, config: Config, index: number, stream: Value, rows: number): Value
  /** Logits of the stream after the last layer, [samples, classes]; samples are the tokens of a text batch in row order, or the images. */
  head(graph: Graph, config: Config, stream: Value): Value
}
