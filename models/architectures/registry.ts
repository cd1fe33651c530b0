import type { Graph, Value } from '../ops/graph.ts'
import type { Batch } from '../types.ts'
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

/** Forward pass of consecutive layers, from `begin` up to but not including `end`. */
export function forwardLayers(
  graph: Graph,
  model: ModelConfig,
  { begin, end }: { begin: number; end: number },
  stream: Value,
  rows: number,
): Value {
  const architecture = architectureOf(model)
  let value = stream
  for (let index = begin; index < end; index++) {
    value = graph.forgetBefore(architecture.layer(graph, model, index, value, rows))
  }
  return value
}

/** Forward pass of the whole model: logits, [samples, classes]. */
export function forwardModel(graph: Graph, model: ModelConfig, batch: Batch): Value {
  const architecture = architectureOf(model)
  const layers = { begin: 0, end: architecture.layers(model) }
  return architecture.head(
    graph,
    model,
    forwardLayers(graph, model, layers, architecture.embed(graph, model, batch), batch.rows),
  )
}
