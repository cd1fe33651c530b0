/** Reading one checkpoint, every piece checked against its hash. */
import { createHash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import {
  type CheckpointManifest,
  type CheckpointPiece,
  corrupt,
  readCheckpointManifest,
} from './checkpoint-manifest.ts'

/** Bytes read and hashed in one go: about a millisecond of the network thread. */
const SLICE = 1024 * 1024

/**
 * Reads pieces of a checkpoint, checking each against its hash, into the flat vectors that `target` names (undefined: leave that vector out). Throws
 * StarlingError 'checkpoint-corrupt'; vectors hold rubbish then.
 */
export async function readTensors(
  path: string,
  manifest: CheckpointManifest,
  target: (vector: string, length: number, type: CheckpointPiece['dtype']) => Float32Array | Int32Array | undefined,
  signal?: AbortSignal,
): Promise<void> {
  const files = new Map<string, FileHandle>() // at most two
  try {
    for (const { name, bytes } of manifest.files) {
      const file = await open(join(path, name), 'r').catch((error: unknown) => {
        throw corrupt(path, `${name} cannot be opened`, error)
      })
      files.set(name, file)
      const { size } = await file.stat()
      if (size !== bytes) throw corrupt(path, `${name} has ${size} bytes instead of ${bytes}`)
    }
    const slice = Buffer.allocUnsafe(SLICE)
    for (const piece of manifest.pieces) {
      const total = manifest.vectors[piece.vector]
      if (total === undefined || piece.start + piece.length > total)
        throw corrupt(path, `${piece.tensor} lies outside its vector`)
      const vector = target(piece.vector, total, piece.dtype)
      if (vector === undefined) continue
      if (vector.length !== total)
        throw corrupt(path, `${piece.vector} has ${total} elements and the run needs ${vector.length}`)
      if (vector instanceof Int32Array !== (piece.dtype === 'int32'))
        throw corrupt(path, `${piece.vector} is ${piece.dtype} and the run needs the other type`)
      const file = files.get(piece.file)
      if (file === undefined) throw corrupt(path, `${piece.tensor} lies in a file that is not listed`)
      const into = new Uint8Array(vector.buffer, vector.byteOffset + piece.start * 4, piece.length * 4)
      await readPiece(path, piece, { file, into, slice }, signal)
      await turn()
    }
  } finally {
    for (const file of files.values()) await file.close()
  }
}

/** Reads one piece by way of `slice`, since the vectors are shared memory, into which no file can be read. */
async function readPiece(
  path: string,
  piece: CheckpointPiece,
  { file, into, slice }: { file: FileHandle; into: Uint8Array; slice: Buffer },
  signal: AbortSignal | undefined,
): Promise<void> {
  const hash = createHash('sha256')
  for (let done = 0; done < into.length; ) {
    signal?.throwIfAborted()
    const { bytesRead } = await file.read(slice, 0, Math.min(SLICE, into.length - done), piece.offset + done)
    if (bytesRead === 0) throw corrupt(path, `${piece.file} ends inside ${piece.tensor}`)
    const part = slice.subarray(0, bytesRead)
    hash.update(part)
    into.set(part, done)
    done += bytesRead
  }
  if (hash.digest('hex') !== piece.sha256) throw corrupt(path, `${piece.tensor} in ${piece.file} does not fit its hash`)
}

/** Reads a whole checkpoint into fresh vectors. Throws as {@link readCheckpointManifest} and {@link readTensors}. */
export async function loadCheckpoint(
  path: string,
  wanted: (vector: string) => boolean = () => true,
): Promise<{ manifest: CheckpointManifest; vectors: Record<string, Float32Array | Int32Array> }> {
  const manifest = await readCheckpointManifest(path)
  const vectors: Record<string, Float32Array | Int32Array> = {}
  await readTensors(path, manifest, (name, length, type) => {
    if (!wanted(name)) return undefined
    vectors[name] ??= type === 'int32' ? new Int32Array(length) : new Float32Array(length)
    return vectors[name]
  })
  return { manifest, vectors }
}
