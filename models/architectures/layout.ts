/** Where a model's tensors lie in its flat vector, and what they hold at the start of a run. */
import { createGenerator, fillBell } from '../random.ts'
import type { Layout, TensorSpec } from '../types.ts'
import type { ModelConfig } from './config.ts'
import type { TensorDefinition } from './definition.ts'
import { tensorsOf } from './registry.ts'

/** Elements between two possible starts of a tensor: 64 bytes, a cache line and what TensorFlow needs to use memory in place. */
const ALIGNMENT = 16

const align = (length: number) => Math.ceil(length / ALIGNMENT) * ALIGNMENT

/**
 * The layout of a model: every tensor on a 64-byte boundary, in the architecture's order.
 * @throws ModelError 'bad-model' for an impossible configuration.
 */
export function layoutOf(model: ModelConfig): Layout {
  return placeTensors(tensorsOf(model))
}

/** The layout of some of a model's tensors, one after the other in the order given. */
export function placeTensors(definitions: readonly TensorDefinition[]): Layout {
  const tensors: TensorSpec[] = []
  let length = 0
  let parameters = 0
  for (const { name, shape } of definitions) {
    const size = shape.reduce((product, side) => product * side, 1)
    tensors.push({ name, shape, offset: length, length: size })
    length += align(size)
    parameters += size
  }
  return { tensors, length, parameters }
}

/**
 * Fills `theta` with the start of a layout's tensors, which are all or some of the model's. Every tensor draws from its own stream of (seed, name), by integer arithmetic, so the bits are
 * the same on every machine and engine.
 */
export function initialize(layout: Layout, model: ModelConfig, seed: number, theta: Float32Array): void {
  theta.fill(0)
  const definitions = new Map(tensorsOf(model).map((definition) => [definition.name, definition]))
  for (const { name, offset, length } of layout.tensors) {
    const start = definitions.get(name)?.start
    if (start === undefined) continue
    const values = theta.subarray(offset, offset + length)
    if ('constant' in start) values.fill(start.constant)
    else fillBell(values, start.deviation, createGenerator(seed, name))
  }
}
