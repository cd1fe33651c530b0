/** Primitives on native TensorFlow: every call is one kernel, named as in TensorFlow's own list of raw operations. */
import type { Tensor } from '@tensorflow/tfjs-core'
import type { Engine } from '../types.ts'
import { Constants } from './constants.ts'
import type { Primitives } from './primitives.ts'

/** The part of tfjs-node's backend that is used here. */
interface NativeBackend {
  binding: Record<'TF_FLOAT' | 'TF_INT32' | 'TF_COMPLEX64', number> &
    Record<'TF_ATTR_TYPE' | 'TF_ATTR_BOOL' | 'TF_ATTR_INT' | 'TF_ATTR_STRING', number>
  executeSingleOutput(name: string, attributes: Attribute[], inputs: Tensor[]): Tensor
  executeMultipleOutputs(name: string, attributes: Attribute[], inputs: Tensor[], outputs: number): Tensor[]
}

interface Attribute {
  name: string
  type: number
  value: unknown
}

export function nativePrimitives(engine: Engine): Primitives {
  const { tf } = engine
  const backend = tf.backend() as unknown as NativeBackend
  const { binding } = backend
  const type = (name: string, value: number): Attribute => ({ name, type: binding.TF_ATTR_TYPE, value })
  const flag = (name: string, value: boolean): Attribute => ({ name, type: binding.TF_ATTR_BOOL, value })
  const integers = (name: string, value: number[]): Attribute => ({ name, type: binding.TF_ATTR_INT, value })
  const word = (name: string, value: string): Attribute => ({ name, type: binding.TF_ATTR_STRING, value })

  // TensorFlow infers element types from the inputs, except in a list of inputs, and has defaults; what is passed costs time in every call.
  const inferred: Attribute[] = []
  const float = type('T', binding.TF_FLOAT)
  // Index: 2 * transposeA + transposeB.
  const sides = (a: string, b: string) => [[], [flag(b, true)], [flag(a, true)], [flag(a, true), flag(b, true)]]
  const product = sides('transpose_a', 'transpose_b')
  const batchProduct = sides('adj_x', 'adj_y')
  const asType = (value: number) => [type('type', value)]
  const toComplex = asType(binding.TF_COMPLEX64)
  const toFloat = asType(binding.TF_FLOAT)
  const window = [integers('strides', [1, 1, 1, 1]), word('padding', 'SAME'), word('data_format', 'NHWC')]
  const convolve = [float, ...window, flag('use_cudnn_on_gpu', true), integers('dilations', [1, 1, 1, 1])]
  const pool = [
    float,
    integers('ksize', [1, 2, 2, 1]),
    integers('strides', [1, 2, 2, 1]),
    word('padding', 'VALID'),
    word('data_format', 'NHWC'),
  ]
  const amount = (value: number): Attribute => ({ name: 'N', type: binding.TF_ATTR_INT, value })
  const joined = (inputs: number) => [float, type('Tidx', binding.TF_INT32), amount(inputs)]

  const kept = new Constants(engine)
  /** Small integer inputs: permutations, axes, shapes. */
  const list = (values: readonly number[]): Tensor =>
    kept.get(`list ${values.join()}`, () => tf.tensor(Int32Array.from(values), [values.length], 'int32'))
  const axis = (value: number): Tensor => kept.get(`axis ${value}`, () => tf.scalar(value, 'int32'))

  const run = (name: string, attributes: Attribute[], ...inputs: Tensor[]): Tensor => {
    math.operations++
    return backend.executeSingleOutput(name, attributes, inputs)
  }

  const math: Primitives = {
    engine,
    operations: 0,
    get constants() {
      return kept.size
    },
    constant: (key, make) => kept.get(key, make),
    dispose: () => kept.dispose(),
    float: (values, shape) => tf.tensor(values, shape as number[], 'float32'),
    integer: (values, shape) => tf.tensor(values, shape as number[], 'int32'),
    reshape: (x, shape) => run('Reshape', inferred, x, list(shape)),
    share: (x) => x.clone(),
    matMul(a, b, transposeA = false, transposeB = false) {
      const side = (transposeA ? 2 : 0) + (transposeB ? 1 : 0)
      return a.rank === 2
        ? run('MatMul', product[side] as Attribute[], a, b)
        : run('BatchMatMulV2', batchProduct[side] as Attribute[], a, b)
    },
    add: (a, b) => run('AddV2', inferred, a, b),
    subtract: (a, b) => run('Sub', inferred, a, b),
    multiply: (a, b) => run('Mul', inferred, a, b),
    multiplyPairs(x, table) {
      const left = run('Bitcast', toComplex, x)
      const right = run('Bitcast', toComplex, table)
      const product = run('Mul', inferred, left, right)
      const result = run('Bitcast', toFloat, product)
      for (const tensor of [left, right, product]) tensor.dispose()
      return result
    },
    addAll: (tensors) => run('AddN', [float, amount(tensors.length)], ...tensors),
    square: (x) => run('Square', inferred, x),
    inverseRoot: (x) => run('Rsqrt', inferred, x),
    sigmoid: (x) => run('Sigmoid', inferred, x),
    sigmoidGradient: (gradient, output) => run('SigmoidGrad', inferred, output, gradient),
    relu: (x) => run('Relu', inferred, x),
    reluGradient: (gradient, output) => run('ReluGrad', inferred, gradient, output),
    softmax: (x) => run('Softmax', inferred, x),
    transpose: (x, permutation) => run('Transpose', inferred, x, list(permutation)),
    rows: (x, begin, count) =>
      run('Slice', inferred, x, list([begin, ...x.shape.slice(1).map(() => 0)]), list([count, ...x.shape.slice(1)])),
    concatRows: (tensors) => run('ConcatV2', joined(tensors.length), ...tensors, axis(0)),
    gather: (table, ids) => run('GatherV2', inferred, table, ids, axis(0)),
    crossEntropy(logits, labels) {
      const ids = tf.tensor(labels, [labels.length], 'int32')
      math.operations++
      const [losses, gradient] = backend.executeMultipleOutputs(
        'SparseSoftmaxCrossEntropyWithLogits',
        inferred,
        [logits, ids],
        2,
      ) as [Tensor, Tensor]
      const values = losses.dataSync() as Float32Array
      losses.dispose()
      ids.dispose()
      return { losses: values, gradient }
    },
    convolution: (x, filter) => run('Conv2D', convolve, x, filter),
    convolutionGradients(x, filter, gradient, wantInput) {
      const filterGradient = run('Conv2DBackpropFilter', convolve, x, list(filter.shape), gradient)
      if (!wantInput) return { filter: filterGradient }
      return { filter: filterGradient, input: run('Conv2DBackpropInput', convolve, list(x.shape), filter, gradient) }
    },
    maxPool: (x) => run('MaxPool', pool, x),
    maxPoolGradient: (x, output, gradient) => run('MaxPoolGrad', pool, x, output, gradient),
    read: (x) => x.dataSync() as Float32Array,
  }
  return math
}
