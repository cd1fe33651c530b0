/**
 * Primitives on the WebAssembly and JavaScript backends, from the operations that both have. Where they lack one (gradients of
 * convolution and pooling, sparse cross-entropy) the loop is plain TypeScript on the tensor's values.
 */
import type { Tensor } from '@tensorflow/tfjs-core'
import type { Engine } from '../types.ts'
import { Constants } from './constants.ts'
import {
  crossEntropyRows,
  foldPatches,
  gatherRows,
  maxPoolGradientImages,
  maxPoolImages,
  multiplyComplex,
  unfoldPatches,
} from './plain.ts'
import { imageShape, type Primitives } from './primitives.ts'

export function portablePrimitives(engine: Engine): Primitives {
  const { tf } = engine
  const kept = new Constants(engine)
  const slowTransposedProduct = engine.name === 'wasm'

  const count = <Result>(result: Result): Result => {
    math.operations++
    return result
  }

  /** The last two axes swapped: the wasm backend's transposed product is ten times slower than a copy and the plain one. */
  const swap = (x: Tensor): Tensor => {
    const axes = x.shape.map((_, axis) => axis)
    const last = axes.length - 1
    axes[last] = last - 1
    axes[last - 1] = last
    return count(tf.transpose(x, axes))
  }

  const patches = (x: Tensor): Tensor => {
    const [images, height, width, channels] = imageShape(x)
    const values = unfoldPatches(x.dataSync() as Float32Array, [images, height, width, channels])
    return tf.tensor(values, [images * height * width, 9 * channels])
  }

  const math: Primitives = {
    engine,
    operations: 0,
    get constants() {
      return kept.size
    },
    constant: (key, make) => kept.get(key, make),
    dispose: () => kept.dispose(),
    // A copy: these backends may keep the array, which the caller's memory must outlive and not change under them.
    float: (values, shape) => tf.tensor(Float32Array.from(values), shape as number[], 'float32'),
    integer: (values, shape) => tf.tensor(Int32Array.from(values), shape as number[], 'int32'),
    reshape: (x, shape) => tf.reshape(x, shape as number[]),
    share: (x) => x.clone(),
    matMul(a, b, transposeA = false, transposeB = false) {
      if (!slowTransposedProduct) return count(tf.matMul(a, b, transposeA, transposeB))
      const left = transposeA ? swap(a) : a
      const right = transposeB ? swap(b) : b
      const result = count(tf.matMul(left, right))
      if (left !== a) left.dispose()
      if (right !== b) right.dispose()
      return result
    },
    add: (a, b) => count(tf.add(a, b)),
    subtract: (a, b) => count(tf.sub(a, b)),
    multiply: (a, b) => count(tf.mul(a, b)),
    multiplyPairs(x, table) {
      const values = multiplyComplex(x.dataSync() as Float32Array, table.dataSync() as Float32Array)
      return count(tf.tensor(values, x.shape))
    },
    addAll(tensors) {
      return tensors.slice(1).reduce((sum, tensor, i) => {
        const next = count(tf.add(sum, tensor))
        if (i > 0) sum.dispose()
        return next
      }, tensors[0] as Tensor)
    },
    square: (x) => count(tf.mul(x, x)),
    inverseRoot: (x) => count(tf.rsqrt(x)),
    sigmoid: (x) => count(tf.sigmoid(x)),
    sigmoidGradient(gradient, output) {
      const square = count(tf.mul(output, output))
      const slope = count(tf.sub(output, square))
      const result = count(tf.mul(gradient, slope))
      square.dispose()
      slope.dispose()
      return result
    },
    relu: (x) => count(tf.relu(x)),
    reluGradient(gradient, output) {
      const slope = count(tf.step(output))
      const result = count(tf.mul(gradient, slope))
      slope.dispose()
      return result
    },
    softmax: (x) => count(tf.softmax(x)),
    transpose: (x, permutation) => count(tf.transpose(x, permutation as number[])),
    rows: (x, begin, length) =>
      count(tf.slice(x, [begin, ...x.shape.slice(1).map(() => 0)], [length, ...x.shape.slice(1)])),
    concatRows: (tensors) => count(tf.concat(tensors as Tensor[], 0)),
    gather(table, ids) {
      const rows = gatherRows(table.dataSync() as Float32Array, ids.dataSync() as Int32Array, table.shape[1] as number)
      return count(tf.tensor(rows, [ids.size, table.shape[1] as number]))
    },
    crossEntropy(logits, labels) {
      const { losses, gradient } = crossEntropyRows(logits.dataSync() as Float32Array, labels)
      return { losses, gradient: count(tf.tensor(gradient, logits.shape)) }
    },
    convolution(x, filter) {
      const [images, height, width, channels] = imageShape(x)
      const outputs = imageShape(filter)[3]
      const columns = patches(x)
      const matrix = tf.reshape(filter, [9 * channels, outputs])
      const product = math.matMul(columns, matrix)
      const result = tf.reshape(product, [images, height, width, outputs])
      for (const tensor of [columns, matrix, product]) tensor.dispose()
      return result
    },
    convolutionGradients(x, filter, gradient, wantInput) {
      const shape = imageShape(x)
      const outputs = imageShape(filter)[3]
      const columns = patches(x)
      const rows = tf.reshape(gradient, [columns.shape[0] as number, outputs])
      const product = math.matMul(columns, rows, true, false)
      const filterGradient = tf.reshape(product, filter.shape)
      columns.dispose()
      product.dispose()
      let input: Tensor | undefined
      if (wantInput) {
        const matrix = tf.reshape(filter, [9 * shape[3], outputs])
        const scattered = math.matMul(rows, matrix, false, true)
        input = count(tf.tensor(foldPatches(scattered.dataSync() as Float32Array, shape), shape))
        matrix.dispose()
        scattered.dispose()
      }
      rows.dispose()
      return input === undefined ? { filter: filterGradient } : { filter: filterGradient, input }
    },
    maxPool(x) {
      const { values, shape } = maxPoolImages(x.dataSync() as Float32Array, imageShape(x))
      return count(tf.tensor(values, shape))
    },
    maxPoolGradient(x, _output, gradient) {
      const values = maxPoolGradientImages(
        x.dataSync() as Float32Array,
        imageShape(x),
        gradient.dataSync() as Float32Array,
      )
      return count(tf.tensor(values, x.shape))
    },
    read: (x) => x.dataSync() as Float32Array,
  }
  return math
}
