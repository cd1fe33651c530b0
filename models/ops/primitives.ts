/**
 * The few tensor operations that the models are written in. There are two implementations: `native.ts` calls TensorFlow's own kernels
 * by name, `portable.ts` uses what the WebAssembly and JavaScript backends have. Callers own every tensor they get and dispose of it.
 */
import type { Tensor, Tensor4D } from '@tensorflow/tfjs-core'
import type { Batch, Engine } from '../types.ts'

export type { Tensor } from '@tensorflow/tfjs-core'

/** An image batch's or feature map's sides. */
export type ImageShape = [images: number, height: number, width: number, channels: number]

export interface Primitives {
  readonly engine: Engine
  /** Operations executed so far. */
  operations: number
  /** Constant tensors made so far; they live until {@link Primitives.dispose}. */
  readonly constants: number
  /**
   * A constant tensor (a mask, a table, a column of ones), made at the first call with its key. Their number is bounded by the shapes
   * of batches that a trainer sees: the microbatch, the last partial one, and the same two of the validation data.
   */
  constant(key: string, make: () => Tensor): Tensor
  /** Gives the constants back. */
  dispose(): void
  float(values: Float32Array, shape: readonly number[]): Tensor
  integer(values: Int32Array, shape: readonly number[]): Tensor
  /** Same data under another shape; costs no copy. */
  reshape(x: Tensor, shape: readonly number[]): Tensor
  /** Another handle of the same data. */
  share(x: Tensor): Tensor
  /** Matrix product of the last two axes, with either side transposed; leading axes are equal. */
  matMul(a: Tensor, b: Tensor, transposeA?: boolean, transposeB?: boolean): Tensor
  add(a: Tensor, b: Tensor): Tensor
  subtract(a: Tensor, b: Tensor): Tensor
  multiply(a: Tensor, b: Tensor): Tensor
  /** Products of complex numbers, each two neighbouring values: x [..., m, n, 2] times every last matrix of it, table [m, n, 2]. */
  multiplyPairs(x: Tensor, table: Tensor): Tensor
  /** Sum of several tensors of one shape. */
  addAll(tensors: readonly Tensor[]): Tensor
  square(x: Tensor): Tensor
  inverseRoot(x: Tensor): Tensor
  sigmoid(x: Tensor): Tensor
  /** gradient output (1 - output), for the output of a sigmoid. */
  sigmoidGradient(gradient: Tensor, output: Tensor): Tensor
  relu(x: Tensor): Tensor
  /** gradient where output > 0, else 0. */
  reluGradient(gradient: Tensor, output: Tensor): Tensor
  /** Over the last axis. */
  softmax(x: Tensor): Tensor
  transpose(x: Tensor, permutation: readonly number[]): Tensor
  /** `count` entries of the first axis from `begin`. */
  rows(x: Tensor, begin: number, count: number): Tensor
  /** Tensors one after the other along the first axis. */
  concatRows(tensors: readonly Tensor[]): Tensor
  /** Rows of a table, [ids, width]. */
  gather(table: Tensor, ids: Tensor): Tensor
  /** Loss of each row and the gradient of their sum, softmax - onehot. */
  crossEntropy(logits: Tensor, labels: Int32Array): { losses: Float32Array; gradient: Tensor }
  /** 3 x 3, stride 1, zero padding 1. x [n, h, w, in], filter [3, 3, in, out]. */
  convolution(x: Tensor, filter: Tensor): Tensor
  convolutionGradients(
    x: Tensor,
    filter: Tensor,
    gradient: Tensor,
    wantInput: boolean,
  ): { filter: Tensor; input?: Tensor }
  /** 2 x 2, stride 2; an odd last row or column is left out. */
  maxPool(x: Tensor): Tensor
  maxPoolGradient(x: Tensor, output: Tensor, gradient: Tensor): Tensor
  /** Values of a tensor; to be read before the tensor is disposed of, and never written to. */
  read(x: Tensor): Float32Array
}

/** The sides of a rank 4 tensor. */
export const imageShape = (x: Tensor): ImageShape => (x as Tensor4D).shape

export type TextBatch = Extract<Batch, { kind: 'text' }>
export type ImageBatch = Extract<Batch, { kind: 'image' }>
