import { TOPK_CHUNK, topKBytes } from '../../kernels/index.ts'
import { badTensor, checkSlice, type TensorCodec } from './codec.ts'

/** Values kept of a chunk of {@link TOPK_CHUNK}: 1.56 %, as in the Templar run of SparseLoCo. */
export const DEFAULT_KEPT = 64

/**
 * The largest magnitudes of every {@link TOPK_CHUNK} values, as SparseLoCo sends them (arXiv 2508.15706 and the Templar code): 12 bits of position,
 * 2 bits of value, and a table of what the four values stand for. `encodeTopK` in kernels/ says how a chunk is laid out. Unlike there, the table belongs
 * to the chunk and not to the tensor, so that slices are coded on their own and layers of different scale keep their scales; that makes 128 bytes
 * a chunk out of 112, a 128th of float32. What is not kept decodes as 0.
 *
 * `kept`: values kept of a whole chunk, 1 to {@link TOPK_CHUNK}; of a shorter one its share, rounded up.
 */
export function topKCodec(kept: number): TensorCodec {
  if (!(Number.isInteger(kept) && kept >= 1 && kept <= TOPK_CHUNK)) {
    throw new RangeError(`a whole number from 1 to ${TOPK_CHUNK} of values are kept of a chunk, not ${kept}`)
  }
  const part = (message: Uint8Array, size: number, start: number, length: number): Uint8Array => {
    checkSlice(codec, message, size, start, length)
    const from = topKBytes(start, kept)
    return message.subarray(from, from + topKBytes(length, kept))
  }
  const codec: TensorCodec = {
    name: 'topk',
    block: TOPK_CHUNK,
    bytes: (size) => topKBytes(size, kept),
    encode(kernels, values, message, size, start) {
      kernels.encodeTopK(values, part(message, size, start, values.length), kept)
    },
    decode(kernels, message, size, start, out) {
      const chunks = part(message, size, start, out.length)
      const bad = kernels.checkTopK(chunks, out.length, kept)
      if (bad >= 0) {
        const chunk = start / TOPK_CHUNK + bad
        const what = `is malformed in chunk ${chunk}: a table that is not finite, positions that do not rise or padding`
        throw badTensor('topk', what, { chunk })
      }
      kernels.decodeTopK(chunks, out, kept)
    },
  }
  return codec
}
