/** Writes safetensors without a copy of the tensors: header bytes, and then the tensors' own bytes in order. */
import { endianness } from 'node:os'
import { ModelError } from '../errors.ts'
import type { Layout } from '../types.ts'
import { DTYPES, type Dtype, MAX_RANK } from './header.ts'

export interface TensorBytes {
  name: string
  dtype: Dtype
  shape: readonly number[]
  /** The elements, little-endian, row by row; any view, also of shared memory. */
  data: Uint8Array
}

export interface SafetensorsParts {
  /** Goes first. Its length is a multiple of 64, so that the first tensor is aligned when the file is mapped into memory. */
  header: Uint8Array
  /** Go next, in this order. They are the views that were given, not copies. */
  views: Uint8Array[]
  /** Where each view starts in the file. */
  offsets: number[]
  /** Length of the file. */
  bytes: number
}

/**
 * What a safetensors file of these tensors is made of, in the order given.
 * @throws ModelError 'bad-tensor' when a name is taken twice or reserved, or a shape does not fit its bytes.
 */
export function writeSafetensors(
  tensors: readonly TensorBytes[],
  metadata: Record<string, string> = {},
): SafetensorsParts {
  if (endianness() !== 'LE')
    throw new ModelError('big-endian', 'safetensors can only be written on little-endian machines')
  const table: [string, unknown][] = []
  if (Object.keys(metadata).length > 0) table.push(['__metadata__', metadata])
  const names = new Set(['__metadata__'])
  const starts: number[] = []
  let length = 0
  for (const { name, dtype, shape, data } of tensors) {
    const size = shape.reduce((product, side) => product * side, DTYPES[dtype])
    if (names.has(name))
      throw new ModelError('bad-tensor', `tensor name ${JSON.stringify(name)} is taken`, { tensor: name })
    if (
      size !== data.length ||
      shape.length > MAX_RANK ||
      !shape.every((side) => Number.isInteger(side) && side >= 0)
    ) {
      const message = `tensor ${name} of ${dtype} [${shape.join(', ')}] does not fit its ${data.length} bytes`
      throw new ModelError('bad-tensor', message, { tensor: name, shape, bytes: data.length })
    }
    names.add(name)
    table.push([name, { dtype, shape, data_offsets: [length, length + data.length] }])
    starts.push(length)
    length += data.length
  }
  // Written entry by entry: an object would sort names that look like numbers to the front.
  const text = `{${table.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(',')}}`
  const json = new TextEncoder().encode(text)
  const header = new Uint8Array(Math.ceil((8 + json.length) / 64) * 64).fill(0x20)
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true)
  header.set(json, 8)
  return {
    header,
    views: tensors.map(({ data }) => data),
    offsets: starts.map((start) => header.length + start),
    bytes: header.length + length,
  }
}

/** The tensors of a model inside its flat vector, as views, ready for {@link writeSafetensors}. */
export function layoutTensors(layout: Layout, vector: Float32Array): TensorBytes[] {
  return layout.tensors.map(({ name, shape, offset, length }) => {
    const values = vector.subarray(offset, offset + length)
    return { name, dtype: 'F32', shape, data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) }
  })
}
