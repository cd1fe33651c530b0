/** Fused differentiable operations over TensorFlow.js, and the primitives they are made from. */
import type { Engine } from '../types.ts'
import { nativePrimitives } from './native.ts'
import { portablePrimitives } from './portable.ts'
import type { Primitives } from './primitives.ts'

export { type GradientSink, Graph, type Value } from './graph.ts'
export { withoutLeak } from './leaks.ts'
export { FlatGradient, Parameters } from './parameters.ts'
export type { Primitives, Tensor } from './primitives.ts'

/** The primitives of an engine. Every caller gets its own constants and counters. */
export function primitivesOf(engine: Engine): Primitives {
  return engine.name === 'native' ? nativePrimitives(engine) : portablePrimitives(engine)
}
