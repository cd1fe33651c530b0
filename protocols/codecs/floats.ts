import { badTensor, checkSlice, notFinite, type TensorCodec } from './codec.ts'

/** The values as they are, little endian, 4 bytes each. */
export const float32: TensorCodec = {
  name: 'float32',
  block: 1,
  bytes: (size) => 4 * size,
  encode(kernels, values, message, size, start) {
    checkSlice(float32, message, size, start, values.length)
    if (!kernels.allFinite(values)) {
      throw notFinite('float32', start, start + values.length)
    }
    new Float32Array(message.buffer, message.byteOffset + 4 * start, values.length).set(values)
  },
  decode(kernels, message, size, start, out) {
    checkSlice(float32, message, size, start, out.length)
    const values = new Float32Array(message.buffer, message.byteOffset + 4 * start, out.length)
    if (!kernels.allFinite(values)) {
      throw badTensor('float32', `has NaN or infinity in elements ${start} to ${start + out.length - 1}`, { start })
    }
    out.set(values)
  },
}

/** IEEE 754 half precision, nearest, little endian, 2 bytes each: 11 bits of precision down to 6e-5, fixed steps of 6e-8 below. Magnitudes below 65520. */
export const float16: TensorCodec = {
  name: 'float16',
  block: 1,
  bytes: (size) => 2 * size,
  encode(kernels, values, message, size, start) {
    checkSlice(float16, message, size, start, values.length)
    kernels.encodeFloat16(values, new Uint16Array(message.buffer, message.byteOffset + 2 * start, values.length))
  },
  decode(kernels, message, size, start, out) {
    checkSlice(float16, message, size, start, out.length)
    const halves = new Uint16Array(message.buffer, message.byteOffset + 2 * start, out.length)
    if (!kernels.allFiniteFloat16(halves)) {
      throw badTensor('float16', `has NaN or infinity in elements ${start} to ${start + out.length - 1}`, { start })
    }
    kernels.decodeFloat16(halves, out)
  },
}
