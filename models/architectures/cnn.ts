/**
 * Convolutional classifier: 3 x 3 convolutions with ReLU, each followed by 2 x 2 max pooling, then a dense layer with ReLU and the classes.
 * Filters are [out, in, 3, 3] and features are flattened channel first, as in PyTorch.
 * Cut into stages: consecutive convolutions; what travels is the feature map.
 */
import { ModelError } from '../errors.ts'
import { convolution, linear, maxPool, relu, reshape, transpose } from '../ops/layers.ts'
import { checkWhole } from './check.ts'
import type { CnnConfig } from './config.ts'
import type { Architecture, TensorDefinition } from './definition.ts'

export const cnn: Architecture<CnnConfig> = {
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
      return layer(`convolutions.${index}`, [filters, inputs, 3, 3], 9 * inputs)
    })
    const features = featureCount(config)
    return [
      ...convolutions,
      ...layer('dense', [config.hidden, features], features),
      ...layer('output', [config.classes, config.hidden], config.hidden),
    ]
  },

  logits(graph, config, batch) {
    if (batch.kind !== 'image')
      throw new ModelError('wrong-data', 'a cnn is trained on images, not on text', { kind: batch.kind })
    let x = graph.data(graph.math.float(batch.pixels, [batch.rows, batch.height, batch.width, batch.channels]))
    config.filters.forEach((_, index) => {
      const name = `convolutions.${index}`
      x = maxPool(graph, relu(graph, convolution(graph, x, `${name}.weight`, `${name}.bias`)))
    })
    const flat = reshape(graph, transpose(graph, x, [0, 3, 1, 2]), [batch.rows, featureCount(config)])
    const hidden = relu(graph, linear(graph, flat, 'dense.weight', 'dense.bias'))
    return linear(graph, hidden, 'output.weight', 'output.bias')
  },
}

/** Values per image after the last pooling. */
function featureCount({ height, width, channels, filters }: CnnConfig): number {
  const side = (length: number) => Math.floor(length / 2 ** filters.length)
  return side(height) * side(width) * (filters.at(-1) ?? channels)
}
