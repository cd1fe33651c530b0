/**
 * Admission by a key that all peers of a run were given by other means: each proves to the other, in its hello, that it has it.
 *
 * The proof is a MAC over both names and the run. The connection's handshake has proven the names already, so a proof is of no use to anybody but the one
 * it was made by, and to no other peer than the one it was made for; it needs no nonce and says nothing of the key, which must be random for that
 * reason: a word that can be guessed could be tried against a proof.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { type PeerName, StarlingError } from '../../../protocols/index.ts'

/** Bytes of a key. */
export const KEY_BYTES = 32

/** Characters of a proof: HMAC-SHA-256 in base64url. */
export const PROOF_LENGTH = 43

/** What a proof is for; a MAC of the same key for another purpose is none. */
const PURPOSE = 'starling/pre-shared-key/1'

/** Reads a key as it stands in a file: 64 hexadecimal digits. Throws StarlingError 'bad-key', whose message does not hold the key. */
export function parseKey(text: string, place: string): Uint8Array {
  const digits = text.trim()
  if (!/^[0-9a-f]{64}$/i.test(digits)) {
    const message = `${place} holds no key: it takes ${KEY_BYTES} random bytes as 64 hexadecimal digits, as "openssl rand -hex 32" prints them`
    throw new StarlingError('bad-key', message, { place })
  }
  return Buffer.from(digits, 'hex')
}

/** What `from` says to `to` to show that it has the key. Names hold no line breaks. */
export function proofOf(key: Uint8Array, run: string, from: PeerName, to: PeerName): string {
  return createHmac('sha256', key).update([PURPOSE, run, from, to].join('\n')).digest('base64url')
}

/** Whether that is the proof; in the same time whatever it says. */
export function isProof(proof: string, key: Uint8Array, run: string, from: PeerName, to: PeerName): boolean {
  const right = Buffer.from(proofOf(key, run, from, to))
  const given = Buffer.from(proof)
  return given.byteLength === right.byteLength && timingSafeEqual(given, right)
}
