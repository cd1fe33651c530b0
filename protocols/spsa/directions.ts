/** Which direction a contribution is about: a key of 32 bytes that everyone derives from (run, author, step); see kernels/directions for what it gives. */
import { sha256 } from '../hash.ts'
import type { PeerName } from '../ports.ts'

const DOMAIN = new TextEncoder().encode('starling/spsa/direction/1')

/** Keys of an author's directions. */
export interface DirectionKeys {
  /** Key of a step, 32 bytes. */
  of(step: number): Uint8Array
}

/**
 * SHA-256(domain, SHA-256(run), SHA-256(author), step as u64 LE). All fields have fixed widths: joined texts of varying widths, as in the paper's code,
 * give one seed to different contributions.
 */
export function directionKeys(run: string, author: PeerName): DirectionKeys {
  const fields = new Uint8Array(DOMAIN.length + 64 + 8)
  fields.set(DOMAIN)
  fields.set(sha256(run), DOMAIN.length)
  fields.set(sha256(author), DOMAIN.length + 32)
  const view = new DataView(fields.buffer, DOMAIN.length + 64)
  return {
    of(step) {
      view.setBigUint64(0, BigInt(step), true)
      return sha256(fields)
    },
  }
}
