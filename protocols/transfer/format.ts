/**
 * What names a blob: the SHA-256 over its size and the SHA-256 of each of its chunks. A list of chunk hashes that does not fit the
 * root is found out before any data moves, and each chunk is checked on its own as it comes.
 */
import { z } from 'zod'
import { StarlingError } from '../errors.ts'
import { HASH_BYTES, HASH_SLICE, sha256, sha256Hex } from '../hash.ts'
import type { Clock } from '../ports.ts'
import { defineMessage } from '../wire/index.ts'

/** Bytes of a chunk; only the last one of a blob is shorter. */
export const CHUNK_BYTES = HASH_SLICE

/** Largest blob, bytes: 16 GiB, so that a chunk list (512 KiB) fits one answer. */
export const MAX_BLOB_BYTES = 16 * 1024 ** 3

/** Names some bytes by what they are. */
export interface BlobReference {
  /** Root hash, 64 hexadecimal digits. */
  root: string
  /** Length, bytes. */
  size: number
}

/** Schema of a reference that came over the wire. */
export const blobReferenceSchema = z.strictObject({
  root: z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits'),
  size: z.number().int().min(0).max(MAX_BLOB_BYTES),
})

/** Asks for the chunk hashes of a blob. */
export const hashesQuestion = defineMessage('blob-hashes', z.strictObject({ root: blobReferenceSchema.shape.root }), {
  maxBytes: 128,
  maxItems: 8,
})

/** Asks for one chunk of a blob. */
export const chunkQuestion = defineMessage(
  'blob-chunk',
  z.strictObject({
    root: blobReferenceSchema.shape.root,
    index: z
      .number()
      .int()
      .min(0)
      .max(MAX_BLOB_BYTES / CHUNK_BYTES),
  }),
  { maxBytes: 128, maxItems: 8 },
)

/** Number of chunks of a blob of that size. */
export function chunkCount(size: number): number {
  return Math.ceil(size / CHUNK_BYTES)
}

/** Bytes of chunk `index` of a blob of that size. */
export function chunkLength(size: number, index: number): number {
  return Math.min(CHUNK_BYTES, size - index * CHUNK_BYTES)
}

/** Root over the chunk hashes, laid end to end. */
export function rootOf(hashes: Uint8Array, size: number): string {
  const length = new Uint8Array(8)
  new DataView(length.buffer).setBigUint64(0, BigInt(size), true)
  return sha256Hex('starling/blob/1', length, hashes)
}

/**
 * Hashes every chunk, giving the event loop a turn after each. Throws StarlingError 'aborted', and 'bad-blob' when there are more
 * than {@link MAX_BLOB_BYTES}.
 */
export async function hashBlob(
  bytes: Uint8Array,
  clock: Clock,
  signal?: AbortSignal,
): Promise<{ reference: BlobReference; hashes: Uint8Array }> {
  const size = bytes.byteLength
  if (size > MAX_BLOB_BYTES) {
    throw new StarlingError('bad-blob', `a blob of ${size} bytes is above the limit of ${MAX_BLOB_BYTES}`, { size })
  }
  const hashes = new Uint8Array(chunkCount(size) * HASH_BYTES)
  for (let index = 0; index * CHUNK_BYTES < size; index++) {
    if (index > 0) {
      // Not handed the signal: one turn is short, and what it rejects with is the caller's own reason.
      await clock.sleep(0)
    }
    if (signal?.aborted === true) {
      throw new StarlingError('aborted', 'hashing was given up', {})
    }
    hashes.set(sha256(bytes.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES)), index * HASH_BYTES)
  }
  return { reference: { root: rootOf(hashes, size), size }, hashes }
}
