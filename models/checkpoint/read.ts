/** Reads safetensors that may be damaged or hostile: every bound is checked before anything is allocated for it. */
import { open } from 'node:fs/promises'
import { ModelError } from '../errors.ts'
import type { Layout } from '../types.ts'
import { DTYPES, type Dtype, fault, type HeaderEntry, parseHeader } from './header.ts'

/** Longest header read: about 100,000 tensors. The reference implementation allows 100 MB. */
export const MAX_HEADER_BYTES = 16 * 1024 * 1024

/** Bytes read at once; bounds the memory beside the vector that is read into. */
const CHUNK = 1024 * 1024

/** Random access to bytes. */
export interface ByteSource {
  /** Number of bytes. */
  readonly size: number
  /** Exactly `into.length` bytes from `offset`, which lie within the source. */
  read(offset: number, into: Uint8Array): Promise<void>
  close(): Promise<void>
}

/** One tensor in a file. */
export interface TensorEntry {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  /** Where its bytes lie in the file. */
  readonly offset: number
  readonly bytes: number
}

/** An open file. */
export interface Safetensors {
  readonly metadata: Readonly<Record<string, string>>
  /** By name, in the order of their bytes. */
  readonly tensors: ReadonlyMap<string, TensorEntry>
  /** The raw bytes of a tensor. @throws ModelError 'tensor-missing' */
  bytes(name: string, signal?: AbortSignal): Promise<Uint8Array>
  /**
   * The values of a tensor of F32, F16 or BF16, into `out` if given (any view, also of shared memory; its length must fit).
   * @throws ModelError 'tensor-missing', 'tensor-type', 'tensor-shape'
   */
  float32(name: string, out?: Float32Array, signal?: AbortSignal): Promise<Float32Array>
  close(): Promise<void>
}

/** A file as a source. @throws ModelError 'file-missing' or 'file-unreadable'. */
export async function fileSource(path: string): Promise<ByteSource> {
  let file: Awaited<ReturnType<typeof open>>
  try {
    file = await open(path, 'r')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const [word, what] =
      code === 'ENOENT' ? ['file-missing', 'does not exist'] : ['file-unreadable', `cannot be opened (${code})`]
    throw new ModelError(word!, `${path} ${what}`, { file: path }, { cause: error })
  }
  try {
    const facts = await file.stat()
    if (!facts.isFile()) throw new ModelError('file-unreadable', `${path} is not a file`, { file: path })
    return {
      size: facts.size,
      async read(offset, into) {
        for (let done = 0; done < into.length; ) {
          const { bytesRead } = await file.read(into, done, into.length - done, offset + done)
          if (bytesRead === 0)
            throw fault(path, `it ends at byte ${offset + done} while it is read`, { offset: offset + done })
          done += bytesRead
        }
      },
      close: () => file.close(),
    }
  } catch (error) {
    await file.close()
    throw error
  }
}

/** Bytes in memory as a source. */
export function memorySource(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.length,
    async read(offset, into) {
      into.set(bytes.subarray(offset, offset + into.length))
    },
    async close() {},
  }
}

/**
 * Opens a safetensors file or bytes. The source is closed with the result, and when this throws.
 * @param name what the file is called in errors; a path names itself.
 * @throws ModelError 'bad-safetensors' with the file and the place of the fault, 'file-missing', 'file-unreadable'.
 */
export async function readSafetensors(
  from: string | Uint8Array | ByteSource,
  options: { name?: string; signal?: AbortSignal } = {},
): Promise<Safetensors> {
  const name = options.name ?? (typeof from === 'string' ? from : 'the data')
  options.signal?.throwIfAborted()
  const source =
    typeof from === 'string' ? await fileSource(from) : from instanceof Uint8Array ? memorySource(from) : from
  try {
    const { dataStart, tensors, metadata } = await readHeader(source, name)
    return opened(source, name, dataStart, tensors, metadata)
  } catch (error) {
    await source.close()
    throw error
  }
}

async function readHeader(source: ByteSource, name: string) {
  if (source.size < 8) throw fault(name, `it holds ${source.size} bytes, less than the 8 of a header's length`)
  const prefix = new Uint8Array(8)
  await source.read(0, prefix)
  const length = new DataView(prefix.buffer).getBigUint64(0, true)
  const most = Math.min(MAX_HEADER_BYTES, source.size - 8)
  if (length > BigInt(most)) {
    const limit = most < MAX_HEADER_BYTES ? `only ${most} bytes follow` : `at most ${most} are read`
    throw fault(name, `bytes 0 to 8 announce a header of ${length} bytes, but ${limit}`, { offset: 0 })
  }
  const raw = new Uint8Array(Number(length))
  await source.read(8, raw)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(raw)
  } catch (error) {
    throw fault(name, 'the header is not UTF-8', { offset: 8 }, { cause: error })
  }
  if (text[0] !== '{') throw fault(name, 'the header does not start with {', { offset: 8 })
  const dataStart = 8 + raw.length
  return { dataStart, ...parseHeader(text, source.size - dataStart, name) }
}

function opened(
  source: ByteSource,
  file: string,
  dataStart: number,
  list: readonly HeaderEntry[],
  metadata: Record<string, string>,
): Safetensors {
  const tensors = new Map<string, TensorEntry>(
    list.map(({ name, dtype, shape, from, to }) => [
      name,
      { name, dtype, shape, offset: dataStart + from, bytes: to - from },
    ]),
  )
  const find = (name: string): TensorEntry => {
    const tensor = tensors.get(name)
    if (tensor !== undefined) return tensor
    throw new ModelError('tensor-missing', `${file} holds no tensor ${name}`, { file, tensor: name })
  }
  return {
    metadata,
    tensors,
    async bytes(name, signal) {
      signal?.throwIfAborted()
      const { offset, bytes } = find(name)
      const all = new Uint8Array(bytes)
      await source.read(offset, all)
      return all
    },
    async float32(name, out, signal) {
      const { dtype, shape, offset, bytes } = find(name)
      const decode = decoders[dtype]
      if (decode === undefined) {
        const message = `tensor ${name} in ${file} is ${dtype}; F32, F16 or BF16 is needed`
        throw new ModelError('tensor-type', message, { file, tensor: name, dtype })
      }
      const size = DTYPES[dtype]
      const length = bytes / size
      if (out !== undefined && out.length !== length) {
        const message = `tensor ${name} in ${file} is [${shape.join(', ')}], ${length} values; ${out.length} are needed`
        throw new ModelError('tensor-shape', message, { file, tensor: name, shape, expected: out.length })
      }
      const values = out ?? new Float32Array(length)
      const chunk = new Uint8Array(Math.min(CHUNK, bytes))
      for (let done = 0; done < bytes; done += CHUNK) {
        signal?.throwIfAborted()
        const part = chunk.subarray(0, Math.min(CHUNK, bytes - done))
        await source.read(offset + done, part)
        decode(new DataView(part.buffer, 0, part.length), values, done / size)
      }
      return values
    },
    close: () => source.close(),
  }
}

const decoders: Partial<Record<Dtype, (from: DataView, to: Float32Array, start: number) => void>> = {
  F32(from, to, start) {
    for (let i = 0; i < from.byteLength / 4; i++) to[start + i] = from.getFloat32(4 * i, true)
  },
  BF16(from, to, start) {
    // The upper half of a float32.
    const bits = new Uint32Array(1)
    const value = new Float32Array(bits.buffer)
    for (let i = 0; i < from.byteLength / 2; i++) {
      bits[0] = from.getUint16(2 * i, true) << 16
      to[start + i] = value[0]!
    }
  },
  F16(from, to, start) {
    for (let i = 0; i < from.byteLength / 2; i++) to[start + i] = half(from.getUint16(2 * i, true))
  },
}

/** The value of an IEEE 754 half: one sign bit, five of exponent, ten of fraction. */
function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >>> 10) & 31
  const fraction = bits & 1023
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  if (exponent === 0) return sign * fraction * 2 ** -24
  return sign * (1024 + fraction) * 2 ** (exponent - 25)
}

/**
 * Loads a model's tensors into its flat vector: all that the layout names, and no others in the file. Names and shapes are compared before a
 * byte is read; values that are not finite are refused.
 * @throws ModelError 'tensor-missing', 'tensor-unknown', 'tensor-shape', 'tensor-type', 'not-finite'. After a 'not-finite' the vector is
 * partly written; after the others it is untouched.
 */
export async function loadTensors(
  file: Safetensors,
  layout: Layout,
  vector: Float32Array,
  signal?: AbortSignal,
): Promise<void> {
  checkTensors(file, layout)
  await readTensors(file, layout, vector, signal)
}

/** @throws ModelError 'tensor-missing', 'tensor-unknown', 'tensor-shape', 'tensor-type' */
function checkTensors(file: Safetensors, layout: Layout): void {
  const wanted = new Map(layout.tensors.map((tensor) => [tensor.name, tensor]))
  for (const name of file.tensors.keys()) {
    if (!wanted.has(name)) throw new ModelError('tensor-unknown', `the model has no tensor ${name}`, { tensor: name })
  }
  for (const { name, shape } of wanted.values()) {
    const found = file.tensors.get(name)
    if (found === undefined)
      throw new ModelError('tensor-missing', `the file holds no tensor ${name}`, { tensor: name })
    if (decoders[found.dtype] === undefined) {
      const message = `tensor ${name} is ${found.dtype}; F32, F16 or BF16 is needed`
      throw new ModelError('tensor-type', message, { tensor: name, dtype: found.dtype })
    }
    if (found.shape.length !== shape.length || found.shape.some((side, i) => side !== shape[i])) {
      const message = `tensor ${name} is [${found.shape.join(', ')}], but the model's is [${shape.join(', ')}]`
      throw new ModelError('tensor-shape', message, { tensor: name, shape: found.shape, expected: shape })
    }
  }
}

/** @throws ModelError 'not-finite' */
async function readTensors(
  file: Safetensors,
  layout: Layout,
  vector: Float32Array,
  signal?: AbortSignal,
): Promise<void> {
  for (const { name, offset, length } of layout.tensors) {
    const values = await file.float32(name, vector.subarray(offset, offset + length), signal)
    const at = values.findIndex((value) => !Number.isFinite(value))
    if (at >= 0) {
      throw new ModelError('not-finite', `tensor ${name}: value ${at} is ${values[at]}`, { tensor: name, index: at })
    }
  }
}

/**
 * Fills a model's flat vector from a safetensors file that holds its tensors and no others, padding zero. Where `layout` is that of a part of the model,
 * `whole` is the model's, and the file holds all of it.
 * @param name what the file is called in errors
 * @throws ModelError 'weights-unfit' that says what does not fit or is wrong with the file; the vector holds rubbish then.
 */
export async function loadWeights(
  path: string,
  layout: Layout,
  vector: Float32Array,
  options: { name: string; whole?: Layout; signal?: AbortSignal },
): Promise<void> {
  const { name, whole = layout, signal } = options
  vector.fill(0)
  try {
    const file = await readSafetensors(path, options)
    try {
      checkTensors(file, whole)
      await readTensors(file, layout, vector, signal)
    } finally {
      await file.close()
    }
  } catch (error) {
    if (!(error instanceof ModelError)) throw error
    const message = `model.weights: ${name} does not fit the model: ${error.message}`
    throw new ModelError('weights-unfit', message, { ...error.data, file: name }, { cause: error })
  }
}
