/** SHA-256 as everything in `protocols/` uses it. */
import { createHash } from 'node:crypto'

/** Bytes of a SHA-256 digest. */
export const HASH_BYTES = 32

/** Most bytes hashed in one go: about 1 to 3 ms of one core, so that the event loop is never held up. */
export const HASH_SLICE = 1024 * 1024

/** SHA-256 over the parts, one after the other; texts count as UTF-8. Callers keep the sum below {@link HASH_SLICE}. */
export function sha256(...parts: readonly (Uint8Array | string)[]): Uint8Array {
  const hash = createHash('sha256')
  for (const part of parts) {
    hash.update(part)
  }
  const digest = hash.digest()
  return new Uint8Array(digest.buffer, digest.byteOffset, digest.byteLength)
}

/** As {@link sha256}, in lower-case hexadecimal. */
export function sha256Hex(...parts: readonly (Uint8Array | string)[]): string {
  return toHex(sha256(...parts))
}

/** Lower-case hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

/** True when both hold the same bytes. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && Buffer.compare(a, b) === 0
}
