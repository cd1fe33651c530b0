/** The parameters as tensors over a flat vector, and the sink that collects their gradients in another one. */
import { ModelError } from '../errors.ts'
import type { Layout, TensorSpec } from '../types.ts'
import type { GradientSink } from './graph.ts'
import type { Primitives, Tensor } from './primitives.ts'

/**
 * Tensors over one flat vector. On the native engine a tensor is the vector's own memory: made once, it shows what anyone writes
 * there. The other engines copy, so {@link refresh} uploads the values again before every use.
 */
export class Parameters {
  private readonly tensors = new Map<string, Tensor>()
  private readonly specs: Map<string, TensorSpec>
  private readonly math: Primitives
  private readonly vector: Float32Array

  constructor(math: Primitives, layout: Layout, vector: Float32Array) {
    this.math = math
    this.specs = new Map(layout.tensors.map((spec) => [spec.name, spec]))
    this.vector = vector
  }

  /** Tensors held now. */
  get size(): number {
    return this.tensors.size
  }

  /** One parameter, or several matrices of one width that lie one after the other, stacked to one: [rows of all, width]. */
  tensor(...names: readonly string[]): Tensor {
    const key = names.join(' + ')
    let tensor = this.tensors.get(key)
    if (tensor === undefined) {
      const { shape, offset, length } = stack(this.specs, names)
      const values = this.vector.subarray(offset, offset + length)
      tensor = this.math.engine.tf.keep(this.math.float(values, shape))
      this.tensors.set(key, tensor)
    }
    return tensor
  }

  /** Makes the tensors show the vector's present values. */
  refresh(): void {
    if (this.math.engine.name !== 'native') this.dispose()
  }

  dispose(): void {
    for (const tensor of this.tensors.values()) tensor.dispose()
    this.tensors.clear()
  }
}

/** @throws ModelError 'parameter-unknown', 'not-adjacent' */
function stack(specs: Map<string, TensorSpec>, names: readonly string[]): Omit<TensorSpec, 'name'> {
  const parts = names.map((name) => {
    const spec = specs.get(name)
    if (spec === undefined) throw new ModelError('parameter-unknown', `the model has no parameter ${name}`, { name })
    return spec
  })
  const first = parts[0] as TensorSpec
  if (parts.length === 1) return first
  let end = first.offset
  let rows = 0
  for (const { offset, length, shape } of parts) {
    if (offset !== end)
      throw new ModelError('not-adjacent', `${names.join(', ')} do not lie one after the other`, { names })
    end += length
    rows += shape[0] as number
  }
  return { shape: [rows, ...first.shape.slice(1)], offset: first.offset, length: end - first.offset }
}

/** Adds gradients to a flat vector. After {@link FlatGradient.clear}, the first of each parameter overwrites what was there. */
export class FlatGradient implements GradientSink {
  private readonly math: Primitives
  private readonly specs: Map<string, TensorSpec>
  private readonly vector: Float32Array
  /** Parameters whose sum has begun; undefined as long as every gradient adds to what is there. */
  private touched: Set<string> | undefined

  constructor(math: Primitives, layout: Layout, vector: Float32Array) {
    this.math = math
    this.specs = new Map(layout.tensors.map((spec) => [spec.name, spec]))
    this.vector = vector
  }

  /** Starts a new sum, into which every parameter must come. */
  clear(): void {
    this.touched = new Set()
  }

  add(parameters: readonly string[], gradient: Tensor): void {
    const { offset, length } = stack(this.specs, parameters)
    const values = this.math.read(gradient)
    const key = parameters.join(' + ')
    if (this.begins(key)) {
      this.vector.set(values, offset)
      return
    }
    for (let i = 0; i < length; i++)
      this.vector[offset + i] = (this.vector[offset + i] as number) + (values[i] as number)
  }

  addRows(parameter: string, ids: Int32Array, rows: Tensor): void {
    const { offset, length } = stack(this.specs, [parameter])
    const values = this.math.read(rows)
    const width = values.length / ids.length
    const table = this.vector.subarray(offset, offset + length)
    if (this.begins(parameter)) table.fill(0)
    for (let row = 0; row < ids.length; row++) {
      const from = row * width
      const to = (ids[row] as number) * width
      for (let i = 0; i < width; i++) table[to + i] = (table[to + i] as number) + (values[from + i] as number)
    }
  }

  /** Whether this is the first gradient of a parameter in a new sum. */
  private begins(key: string): boolean {
    if (this.touched === undefined || this.touched.has(key)) return false
    this.touched.add(key)
    return true
  }
}
