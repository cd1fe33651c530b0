/**
 * Multilayer perceptron over flattened images: linear layers with ReLU between them. Weights are [out, in], as in PyTorch.
 * Cut into stages: consecutive hidden layers but the first; what travels is [images, units]. The first hidden layer, which reads the pixels, and the
 * classes stay with the peer that has the data. Hidden layers of one width are alike.
 */
import { ModelError } from '../errors.ts'
import type { Graph, Value } from '../ops/graph.ts'
import { linear, relu } from '../ops/layers.ts'
import { checkWhole } from './check.ts'
import type { MlpConfig } from './config.ts'
import type { Architecture } from './definition.ts'

export const mlp: Architecture<MlpConfig> = {
  layersKey: 'hidden',

  tensors(config) {
    for (const key of ['height', 'width', 'channels', 'classes'] as const) checkWhole(key, config[key])
    config.hidden.forEach((units, index) => {
      checkWhole(`hidden[${index}]`, units)
    })
    const sizes = [pixelCount(config), ...config.hidden, config.classes]
    return sizes.slice(1).flatMap((units, index) => {
      const inputs = sizes[index] as number
      // Keeps the variance through ReLU (He et al. 2015).
      const deviation = Math.sqrt(2 / inputs)
      const between = index > 0 && index < config.hidden.length ? { layer: index - 1 } : {}
      return [
        { name: `layers.${index}.weight`, shape: [units, inputs], start: { deviation }, decay: true, ...between },
        { name: `layers.${index}.bias`, shape: [units], start: { constant: 0 }, decay: false, ...between },
      ]
    })
  },

  layers: ({ hidden }) => Math.max(0, hidden.length - 1),

  stream: (config, layers) => [1, config.hidden[layers] ?? pixelCount(config)],

  embed(graph, config, batch) {
    if (batch.kind !== 'image')
      throw new ModelError('wrong-data', 'an mlp is trained on images, not on text', { kind: batch.kind })
    const pixels = graph.data(graph.math.float(batch.pixels, [batch.rows, pixelCount(config)]))
    return config.hidden.length === 0 ? pixels : rectified(graph, pixels, 0)
  },

  layer: (graph, _config, index, stream) => rectified(graph, stream, index + 1),

  head(graph, config, stream) {
    const name = `layers.${config.hidden.length}`
    return linear(graph, stream, `${name}.weight`, `${name}.bias`)
  },
}

const pixelCount = ({ height, width, channels }: MlpConfig) => height * width * channels

/** A hidden layer by its number in the names of the tensors. */
function rectified(graph: Graph, x: Value, index: number): Value {
  return relu(graph, linear(graph, x, `layers.${index}.weight`, `layers.${index}.bias`))
}
