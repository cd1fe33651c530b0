import { KernelError, type Kernels } from '../../kernels/index.ts'
import { StarlingError } from '../errors.ts'

/** Names of the codes. */
export const CODEC_NAMES = ['float32', 'float16', 'int8', 'int8-stochastic', 'int4', 'sign', 'topk'] as const

/** Name of a code. */
export type CodecName = (typeof CODEC_NAMES)[number]

/**
 * A code of flat float32 tensors. It works slice by slice, so that the only scratch memory needed is a slice, whatever the size of the model, and
 * in place, over views of shared memory. `message` is the whole encoded tensor of `size` elements and begins at a multiple of 4 bytes; `start` is the
 * first element of the slice. A slice begins at a multiple of {@link TensorCodec.block} and ends at one or at the end of the tensor, or a RangeError is thrown.
 */
export interface TensorCodec {
  readonly name: CodecName
  /** Elements that are coded together. */
  readonly block: number
  /** Exact bytes of an encoded tensor of `size` elements. Every message of a tensor has this length. */
  bytes(size: number): number
  /**
   * Writes the slice of the message that holds `values`; slices may come in any order. `seed` (32 bits) is what codes with stochastic rounding draw
   * from, one for every message; the others ignore it. Throws KernelError 'not-finite' for values that the code cannot hold.
   */
  encode(kernels: Kernels, values: Float32Array, message: Uint8Array, size: number, start: number, seed: number): void
  /**
   * Reads the slice of the message that begins at `start` into `out`; all values are finite. Throws StarlingError 'bad-tensor' when the message has another length or the
   * slice is not as `encode` writes it, before anything is written: a message may come from anybody.
   */
  decode(kernels: Kernels, message: Uint8Array, size: number, start: number, out: Float32Array): void
}

/** What makes a message no message of its code. */
export function badTensor(name: CodecName, what: string, data: Record<string, unknown>): StarlingError {
  return new StarlingError('bad-tensor', `a message in ${name} ${what}`, { codec: name, ...data })
}

/** A value that the code cannot hold, between two elements of the tensor. */
export function notFinite(name: CodecName, start: number, end: number): KernelError {
  const message = `${name}: NaN or infinity between elements ${start} and ${end - 1}`
  return new KernelError('not-finite', message, { kernel: name, start, end })
}

/** The checks that every code makes first. Throws StarlingError 'bad-tensor' for the length, RangeError for a misuse. */
export function checkSlice(codec: TensorCodec, message: Uint8Array, size: number, start: number, length: number): void {
  const { name, block } = codec
  const bytes = codec.bytes(size)
  if (message.byteLength !== bytes) {
    const what = `has ${message.byteLength} bytes where a tensor of ${size} elements needs ${bytes}`
    throw badTensor(name, what, { bytes, length: message.byteLength })
  }
  if (message.byteOffset % 4 !== 0) {
    throw new RangeError(`a message begins at a multiple of 4 bytes, not at ${message.byteOffset}`)
  }
  const end = start + length
  if (start < 0 || start % block !== 0 || end > size || (end % block !== 0 && end !== size)) {
    throw new RangeError(`a slice in ${name} is cut at multiples of ${block}, not ${start} to ${end} of ${size}`)
  }
}
