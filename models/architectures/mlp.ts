/**
 * Multilayer perceptron over flattened images: linear layers with ReLU between them. Weights are [out, in], as in PyTorch.
 * Cut into stages: consecutive layers; what travels is [images, units].
 */
import { ModelError } from '../errors.ts'
import { linear, relu } from '../ops/layers.ts'
import { checkWhole } from './check.ts'
import type { MlpConfig } from './config.ts'
import type { Architecture } from './definition.ts'

export const mlp: Architecture<MlpConfig> = {
  tensors(config) {
    for (const key of ['height', 'width', 'channels', 'classes'] as const) checkWhole(key, config[key])
    config.hidden.forEach((units, index) => {
      checkWhole(`hidden[${index}]`, units)
    })
    const sizes = [config.height * config.width * config.channels, ...config.hidden, config.classes]
    return sizes.slice(1).flatMap((units, index) => {
      const inputs = sizes[index] as number
      // Keeps the variance through ReLU (He et al. 2015).
      const deviation = Math.sqrt(2 / inputs)
      return [
        { name: `layers.${index}.weight`, shape: [units, inputs], start: { deviation }, decay: true },
        { name: `layers.${index}.bias`, shape: [units], start: { constant: 0 }, decay: false },
      ]
    })
  },

  logits(graph, config, batch) {
    if (batch.kind !== 'image')
      throw new ModelError('wrong-data', 'an mlp is trained on images, not on text', { kind: batch.kind })
    let x = graph.data(graph.math.float(batch.pixels, [batch.rows, batch.height * batch.width * batch.channels]))
    config.hidden.forEach((_, index) => {
      x = relu(graph, linear(graph, x, `layers.${index}.weight`, `layers.${index}.bias`))
    })
    const last = config.hidden.length
    return linear(graph, x, `layers.${last}.weight`, `layers.${last}.bias`)
  },
}
