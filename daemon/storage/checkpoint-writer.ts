/** Writing one checkpoint: streamed from the vectors, hashed piece by piece, and under its name only when all of it is on disk. */
import { createHash, type Hash } from 'node:crypto'
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Layout, layoutTensors, type TensorBytes, writeSafetensors } from '../../models/index.ts'
import { StarlingError } from '../../protocols/index.ts'
import {
  type CheckpointFile,
  type CheckpointPiece,
  MODEL_FILE,
  STATE_FILE,
  writeCheckpointManifest,
} from './checkpoint-manifest.ts'
import { syncFolder, writeSynced } from './files.ts'

/** Bytes copied, hashed and written in one go: about a millisecond of the network thread. */
const SLICE = 1024 * 1024

/** A vector of elements of four bytes. */
export interface VectorBytes {
  type: CheckpointPiece['dtype']
  data: Uint8Array
}

/** A consistent copy of a node's state, to be written. */
export interface CheckpointInput {
  run: string
  step: number
  model: Record<string, unknown>
  manifest: unknown
  progress: Record<string, unknown>
  /** Hugging Face `config.json` of the model. */
  config: Record<string, unknown>
  layout: Layout
  /** Each vector; 'theta' is written as the model's tensors, the others whole. They must not change while this is written. */
  vectors: Record<string, VectorBytes>
}

/**
 * Writes a checkpoint into a new folder `path`: `model.safetensors` (the parameters under their Hugging Face names), `config.json`,
 * `state.safetensors` (every other vector, flat) and `manifest.json` with the hash of every piece. The folder gets its name only when all of it is
 * on disk. Resolves to the bytes written; throws the signal's reason and errors of the file system, leaving nothing behind.
 */
export async function writeCheckpoint(path: string, input: CheckpointInput, signal?: AbortSignal): Promise<number> {
  const { run, step, model, manifest, progress, config, layout, vectors } = input
  const { theta, ...others } = vectors
  if (theta === undefined) throw new StarlingError('bad-checkpoint', 'a checkpoint needs the vector theta')
  const temporary = `${path}.writing`
  await rm(temporary, { recursive: true, force: true })
  await mkdir(temporary, { recursive: true })
  try {
    const parts = [await writePart(temporary, MODEL_FILE, placedModel(layout, theta.data), signal)]
    if (Object.keys(others).length > 0)
      parts.push(await writePart(temporary, STATE_FILE, placedVectors(others), signal))
    const files = parts.map(({ file }) => file)
    await writeSynced(join(temporary, 'config.json'), `${JSON.stringify(config, null, 2)}\n`)
    await writeCheckpointManifest(temporary, {
      run,
      step,
      model,
      manifest,
      progress,
      vectors: Object.fromEntries(Object.entries(vectors).map(([name, { data }]) => [name, data.length / 4])),
      files,
      pieces: parts.flatMap(({ pieces }) => pieces),
    })
    await syncFolder(temporary)
    signal?.throwIfAborted()
    await rename(temporary, path)
    await syncFolder(dirname(path))
    return files.reduce((sum, { bytes }) => sum + bytes, 0)
  } catch (error) {
    await rm(temporary, { recursive: true, force: true })
    throw error
  }
}

/** A tensor and its place: it begins with element `start` of a flat vector. */
interface Placed {
  tensor: TensorBytes
  vector: string
  start: number
}

function placedModel(layout: Layout, theta: Uint8Array): Placed[] {
  const tensors = layoutTensors(layout, new Float32Array(theta.buffer, theta.byteOffset, theta.byteLength / 4))
  return layout.tensors.map(({ offset }, index) => ({
    tensor: tensors[index] as TensorBytes,
    vector: 'theta',
    start: offset,
  }))
}

function placedVectors(vectors: Record<string, VectorBytes>): Placed[] {
  return Object.entries(vectors).map(([name, { type, data }]) => ({
    tensor: { name, dtype: type === 'int32' ? 'I32' : 'F32', shape: [data.length / 4], data },
    vector: name,
    start: 0,
  }))
}

/** Writes one safetensors file. */
async function writePart(
  folder: string,
  name: CheckpointFile['name'],
  placed: readonly Placed[],
  signal: AbortSignal | undefined,
): Promise<{ file: CheckpointFile; pieces: CheckpointPiece[] }> {
  const { header, offsets, bytes } = writeSafetensors(
    placed.map(({ tensor }) => tensor),
    { format: 'pt' },
  )
  const file = await open(join(folder, name), 'wx')
  try {
    await file.write(header)
    const pieces: CheckpointPiece[] = []
    for (const [index, { tensor, vector, start }] of placed.entries()) {
      const hash = createHash('sha256')
      await stream(file, tensor.data, hash, signal)
      pieces.push({
        tensor: tensor.name,
        vector,
        dtype: tensor.dtype === 'I32' ? 'int32' : 'float32',
        shape: [...tensor.shape],
        start,
        length: tensor.data.length / 4,
        file: name,
        offset: offsets[index] as number,
        sha256: hash.digest('hex'),
      })
    }
    await file.sync()
    return { file: { name, bytes }, pieces }
  } finally {
    await file.close()
  }
}

/** Writes the bytes in slices, hashing each, with a turn of the event loop between two. Shared memory is copied slice by slice. */
async function stream(file: FileHandle, data: Uint8Array, hash: Hash, signal: AbortSignal | undefined): Promise<void> {
  const slice = Buffer.allocUnsafe(Math.min(SLICE, data.length))
  for (let start = 0; start < data.length; start += SLICE) {
    signal?.throwIfAborted()
    const end = Math.min(start + SLICE, data.length)
    const part = slice.subarray(0, end - start)
    part.set(data.subarray(start, end))
    hash.update(part)
    for (let written = 0; written < part.length; ) written += (await file.write(part, written)).bytesWritten
  }
}
