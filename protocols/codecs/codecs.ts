/**
 * Codes of one flat float32 tensor. A code works slice by slice, so that the only scratch memory needed is a slice, whatever the size of the
 * model; a slice starts at a multiple of {@link CODEC_BLOCK} elements.
 */
import { CODEC_BLOCK, type Kernels } from '../../kernels/index.ts'
import { StarlingError } from '../errors.ts'

/** Names of the codes. */
export type CodecName = 'int8' | 'float32'

/** One code. `message` is the whole encoded tensor of `size` elements, `start` the first element of the slice. */
export interface TensorCodec {
  readonly name: CodecName
  /** Exact bytes of an encoded tensor of `size` elements. */
  bytes(size: number): number
  /** Writes the slice of the message that holds `values`. Throws KernelError 'not-finite'. */
  encode(kernels: Kernels, values: Float32Array, message: Uint8Array, size: number, start: number): void
  /** Reads the slice of the message that begins at `start` into `out`; may leave non-finite values there, for the caller to refuse. */
  decode(kernels: Kernels, message: Uint8Array, size: number, start: number, out: Float32Array): void
}

/**
 * int8: one code per value, and per {@link CODEC_BLOCK} values one float32 scale, the largest magnitude divided by 127 (`encodeInt8`).
 *
 *     bytes 0 .. n-1                codes, signed
 *     bytes n .. 4⌈n/4⌉-1           zero, so that the scales are aligned
 *     then 4⌈n/256⌉ bytes           scales, little endian
 *
 * 1.016 bytes per value. The error of a value is at most half its block's scale.
 */
const int8: TensorCodec = {
  name: 'int8',
  bytes: (size) => scalesAt(size) + 4 * Math.ceil(size / CODEC_BLOCK),
  encode(kernels, values, message, size, start) {
    const { codes, scales } = parts(message, size, start, values.length)
    kernels.encodeInt8(values, codes, scales)
  },
  decode(kernels, message, size, start, out) {
    const { codes, scales } = parts(message, size, start, out.length)
    kernels.decodeInt8(codes, scales, out)
  },
}

/** float32: the values as they are, little endian, 4 bytes each. */
const float32: TensorCodec = {
  name: 'float32',
  bytes: (size) => 4 * size,
  encode(_kernels, values, message, size, start) {
    checkLength(message, 4 * size)
    new Float32Array(message.buffer, message.byteOffset + 4 * start, values.length).set(values)
  },
  decode(_kernels, message, size, start, out) {
    checkLength(message, 4 * size)
    out.set(new Float32Array(message.buffer, message.byteOffset + 4 * start, out.length))
  },
}

/** The codes by name. */
export const codecs: Readonly<Record<CodecName, TensorCodec>> = { int8, float32 }

function scalesAt(size: number): number {
  return 4 * Math.ceil(size / 4)
}

function parts(
  message: Uint8Array,
  size: number,
  start: number,
  length: number,
): { codes: Int8Array; scales: Float32Array } {
  checkLength(message, int8.bytes(size))
  if (start % CODEC_BLOCK !== 0) {
    throw new RangeError(`a slice starts at a multiple of ${CODEC_BLOCK}, not at ${start}`)
  }
  const blocks = Math.ceil(length / CODEC_BLOCK)
  const scales = message.byteOffset + scalesAt(size) + 4 * (start / CODEC_BLOCK)
  return {
    codes: new Int8Array(message.buffer, message.byteOffset + start, length),
    scales: new Float32Array(message.buffer, scales, blocks),
  }
}

function checkLength(message: Uint8Array, bytes: number): void {
  if (message.byteLength !== bytes) {
    throw new StarlingError('bad-tensor', `a message of ${message.byteLength} bytes where the tensor needs ${bytes}`, {
      bytes,
      length: message.byteLength,
    })
  }
}
