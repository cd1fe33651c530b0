/**
 * Convolutional classifier: 3 x 3 convolutions with ReLU, each followed by 2 x 2 max pooling, then a dense layer with ReLU and the classes.
 * Filters are [out, in, 3, 3] and features are flattened channel first, as in PyTorch.
 * Cut into stages: consecutive convolutions, each with its pooling; what travels is the feature map, and before the first convolution the images
 * themselves, so that embedding has no parameters. The dense layer and the classes stay with the peer that has the data. Pooling halves the
 * map, so stages are never alike.
 */
import { ModelError } from '../errors.ts'
import { convolution, linear, maxPool, relu, reshape, transpose } from '../ops/layers.ts'
import { checkWhole } from './check.ts'
import type { CnnConfig } from './config.ts'
import type { Architecture, TensorDefinition } from './definition.ts'

export const cnn: Architecture<CnnConfig> = {
  layersKey: 'filters',

  tensors(config) {
    for (const key of ['height', 'width', 'channels', 'classes', 'hidden'] as const) checkWhole(key, config[key])
    config.filters.forEach((filters, index) => {
      checkWhole(`filters[${index}]`, filters)
    })
    const halvings = config.filters.length
    const smallest = 2 ** halvings
    for (const key of ['height', 'width'] as const) {
      if (config[key] >= smallest) continue
      const allowed = `at least ${smallest} for ${halvings} convolutions`
      throw new ModelError('bad-model', `model.${key} is ${config[key]}; it must be ${allowed}`, {
        key,
        value: config[key],
        allowed,
      })
    }
    // Keeps the variance through ReLU (He et al. 2015).
    const layer = (name: string, shape: number[], inputs: number): TensorDefinition[] => [
      { name: `${name}.weight`, shape, start: { deviation: Math.sqrt(2 / inputs) }, decay: true },
      { name: `${name}.bias`, shape: [shape[0] as number], start: { constant: 0 }, decay: false },
    ]
    const channels = [config.channels, ...config.filters]
    const convolutions = config.filters.flatMap((filters, index) => {
      const inputs = channels[index] as number
      const definitions = layer(`convolutions.${index}`, [filters, inputs, 3, 3], 9 * inputs)
      return definitions.map((definition) => ({ ...definition, layer: index }))
    })
    const features = featureCount(config)
    return [
      ...convolutions,
      ...layer('dense', [config.hidden, features], features),
      ...layer('output', [config.classes, config.hidden], config.hidden),
    ]
  },

  layers: ({ filters }) => filters.length,

  stream: (config, layers) => [1, ...mapAfter(config, layers)],

  embed(graph, _config, batch) {
    if (batch.kind !== 'image')
      throw new ModelError('wrong-data', 'a cnn is trained on images, not on text', { kind: batch.kind })
    return graph.data(graph.math.float(batch.pixels, [batch.rows, batch.height, batch.width, batch.channels]))
  },

  layer(graph, _config, index, stream) {
    const name = `convolutions.${index}`
    return maxPool(graph, relu(graph, convolution(graph, stream, `${name}.weight`, `${name}.bias`)))
  },

  head(graph, config, stream) {
    const images = stream.tensor.shape[0] as number
    const flat = reshape(graph, transpose(graph, stream, [0, 3, 1, 2]), [images, featureCount(config)])
    const hidden = relu(graph, linear(graph, flat, 'dense.weight', 'dense.bias'))
    return linear(graph, hidden, 'output.weight', 'output.bias')
  },
}

/** Height, width and channels of the feature map after some convolutions. */
function mapAfter({ height, width, channels, filters }: CnnConfig, layers: number): [number, number, number] {
  const side = (length: number) => Math.floor(length / 2 ** layers)
  return [side(height), side(width), layers === 0 ? channels : (filters[layers - 1] as number)]
}

/** Values per image after the last pooling. */
function featureCount(config: CnnConfig): number {
  const [height, width, channels] = mapAfter(config, config.filters.length)
  return height * width * channels
}
