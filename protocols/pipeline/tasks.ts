/** How what is in the vector 'stream' travels, as compute tasks: they run where the parameters live, between two passes. */
import type { Kernels, VectorSpec } from '../../kernels/index.ts'
import { codecs } from '../codecs/index.ts'
import { StarlingError } from '../errors.ts'
import type { ComputeTask, StageCut } from '../ports.ts'
import { MAX_EXPONENT } from './messages.ts'
import { type PipelineOptions, quotaOf, slotsOf } from './options.ts'

/** Encoded tensors, one behind the other. */
export const TENSORS = 'pipeline-tensors'

/** Tensors begin at multiples of this, bytes. */
const ALIGNMENT = 64

/** Bytes from one encoded tensor to the next. */
export const strideOf = (cut: StageCut, codec: PipelineOptions['codec']): number =>
  Math.ceil(codecs[codec].bytes(cut.rows * Math.max(...cut.stream)) / ALIGNMENT) * ALIGNMENT

/** Room for encoded tensors: one for each microbatch of this peer's own, and for each that a stage here keeps. */
export const tensorCount = (options: PipelineOptions): number => quotaOf(options) + options.places * slotsOf(options)

/** Vectors of the flow. */
export const flowVectors = (cut: StageCut, options: PipelineOptions): VectorSpec => ({
  [TENSORS]: { type: 'uint8', length: tensorCount(options) * strideOf(cut, options.codec) },
})

/** A tensor of `count` elements in stream, and its code in {@link TENSORS}. */
export interface StreamTensor {
  codec: PipelineOptions['codec']
  count: number
  /** First byte. */
  offset: number
  /** Bytes. */
  size: number
}

/**
 * Code <- stream. Gradients at activations are small, and halves have fixed steps of 6e-8 below 6e-5: for float16 the values are multiplied by the power of two
 * that brings their root mean square to 1 or somewhat more, so that whatever the size of the loss it is the largest ones that keep all 11 bits, and none overflows.
 * Throws KernelError 'not-finite'. stream holds nothing of use afterwards.
 */
export const encodeStreamTask: ComputeTask<StreamTensor, { exponent: number }> = {
  name: 'pipeline-encode',
  run(context, { codec, count, offset, size }) {
    const { kernels } = context
    const stream = context.float32('stream').subarray(0, count)
    const exponent = codec === 'float16' ? exponentFor(kernels, stream) : 0
    if (exponent !== 0) {
      kernels.scale(stream, 2 ** exponent)
    }
    const message = context.bytes(TENSORS).subarray(offset, offset + size)
    codecs[codec].encode(kernels, stream, message, count, 0, 0)
    return { exponent }
  },
}

/** The power of two that brings the root mean square of values to [1, 2); within the bounds of the message. */
function exponentFor(kernels: Kernels, values: Float32Array): number {
  const square = kernels.sumSquares(values) / values.length
  if (!(square > 0 && square < Number.POSITIVE_INFINITY)) {
    return 0
  }
  // Not Math.log2: peers must not differ over a power of two.
  let exponent = 0
  let scaled = square
  for (; scaled >= 4 && exponent > -MAX_EXPONENT; scaled /= 4) {
    exponent--
  }
  for (; scaled < 1 && exponent < MAX_EXPONENT; scaled *= 4) {
    exponent++
  }
  return exponent
}

/** stream <- code. Throws StarlingError 'bad-tensor' for what no honest peer sends: another length, or values that are not finite. */
export const decodeStreamTask: ComputeTask<StreamTensor & { exponent: number }, null> = {
  name: 'pipeline-decode',
  run(context, { codec, count, offset, size, exponent }) {
    const { kernels } = context
    const stream = context.float32('stream').subarray(0, count)
    codecs[codec].decode(kernels, context.bytes(TENSORS).subarray(offset, offset + size), count, 0, stream)
    if (exponent !== 0) {
      kernels.scale(stream, 2 ** -exponent)
    }
    if (!kernels.allFinite(stream)) {
      throw new StarlingError('bad-tensor', `an activation holds values beyond float32 at exponent ${exponent}`, {
        exponent,
      })
    }
    return null
  },
}

/** All of them, for the trainer thread's table. */
export const flowTasks = [encodeStreamTask, decodeStreamTask] as readonly ComputeTask<never, unknown>[]
