/**
 * The IDX format of the MNIST files (LeCun, Cortes & Burges): two zero bytes, one byte for the element type, one for the number of
 * dimensions, each dimension as a big-endian 32-bit integer, then the elements. Only unsigned bytes are read here.
 */
import { ModelError } from '../errors.ts'
import type { Images } from './images.ts'

/** Element types of the format, for errors. */
const types: Record<number, string> = { 8: 'uint8', 9: 'int8', 11: 'int16', 12: 'int32', 13: 'float32', 14: 'float64' }

/**
 * The dimensions and elements of an IDX file of unsigned bytes. The elements are a view of `bytes`.
 * @throws ModelError 'bad-idx' with the file and the offset of the fault.
 */
export function readIdx(bytes: Uint8Array, name: string, dimensions: number): { shape: number[]; data: Uint8Array } {
  const fault = (offset: number, what: string) =>
    new ModelError('bad-idx', `${name} is not the IDX file that is needed: ${what} at byte ${offset}`, {
      file: name,
      offset,
    })
  const header = 4 + 4 * dimensions
  if (bytes.length < 4) throw fault(bytes.length, 'the file ends within its first 4 bytes')
  if (bytes[0] !== 0 || bytes[1] !== 0) throw fault(0, 'the first two bytes are not zero')
  if (bytes[2] !== 8) throw fault(2, `elements are ${types[bytes[2]!] ?? `of type ${bytes[2]}`}, not uint8,`)
  if (bytes[3] !== dimensions) throw fault(3, `${bytes[3]} dimensions, not ${dimensions},`)
  if (bytes.length < header) throw fault(bytes.length, `the file ends within its ${header} bytes of header`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const shape: number[] = []
  // Each factor is below 2^32 and the product is compared after every step, so it stays exact.
  let length = 1
  for (let i = 0; i < dimensions; i++) {
    const size = view.getUint32(4 + 4 * i)
    length *= size
    if (size === 0 || length > bytes.length - header) {
      throw fault(
        4 + 4 * i,
        `dimension ${i} of ${size} needs more elements than the ${bytes.length - header} in the file`,
      )
    }
    shape.push(size)
  }
  if (length !== bytes.length - header) {
    throw fault(header + length, `${bytes.length - header - length} bytes too many`)
  }
  return { shape, data: bytes.subarray(header) }
}

/**
 * Images and their labels from two IDX files, already unpacked.
 * @throws ModelError 'bad-idx' also when the counts differ or a label is not below `classes`.
 */
export function readIdxImages(
  images: { name: string; bytes: Uint8Array },
  labels: { name: string; bytes: Uint8Array },
  classes?: number,
): Images {
  const { shape, data: pixels } = readIdx(images.bytes, images.name, 3)
  const [count, height, width] = shape as [number, number, number]
  const { shape: labelShape, data: marks } = readIdx(labels.bytes, labels.name, 1)
  if (labelShape[0] !== count) {
    const message = `${labels.name} holds ${labelShape[0]} labels, but ${images.name} holds ${count} images`
    throw new ModelError('bad-idx', message, { file: labels.name, labels: labelShape[0], images: count })
  }
  const least = marks.reduce((largest, mark) => Math.max(largest, mark), 0) + 1
  if (classes !== undefined && least > classes) {
    const at = marks.findIndex((mark) => mark >= classes)
    const message = `${labels.name}: label ${marks[at]} at byte ${8 + at} is not below the ${classes} classes of the run`
    throw new ModelError('bad-idx', message, { file: labels.name, offset: 8 + at })
  }
  return { count, height, width, pixels, labels: marks, classes: classes ?? Math.max(2, least) }
}
