/**
 * The hash chain over one author's contributions. h_0 = SHA-256(domain, run, author), h_n = SHA-256(h_{n-1}, n, byte n): the newest head names the
 * whole prefix, and so does the signature over it. (Crosby & Wallach 2009, "Efficient data structures for tamper-evident logging", section 2: hash
 * chains with signed commitments.)
 */
import { hash } from 'node:crypto'
import { HASH_BYTES, sha256 } from '../../hash.ts'
import type { PeerName } from '../../ports.ts'

/** Bytes of an Ed25519 signature. */
export const SIGNATURE_BYTES = 64

/** Heads are remembered at every multiple of this; also the most contributions hashed in one go, 1 to 2 ms. */
export const CHUNK = 4096

/** A moment in an author's history: the chain after its first `count` contributions. */
export interface Head {
  count: number
  /** h_count, 32 bytes. */
  hash: Uint8Array
}

/** h_0 of an author in a run. Both names are hashed first, so that the fields have fixed widths. */
export function originOf(run: string, author: PeerName): Uint8Array {
  return sha256('starling/spsa/chain/1', sha256(run), sha256(author))
}

/** What an author signs for a head: domain, run and author (both in h_0), n, h_n. */
export function statementOf(origin: Uint8Array, head: Head): Uint8Array {
  const domain = Buffer.from('starling/spsa/head/1')
  const statement = new Uint8Array(domain.length + 2 * HASH_BYTES + 8)
  statement.set(domain)
  statement.set(origin, domain.length)
  new DataView(statement.buffer).setBigUint64(domain.length + HASH_BYTES, BigInt(head.count), true)
  statement.set(head.hash, domain.length + HASH_BYTES + 8)
  return statement
}

/** A chain that was followed some way. */
export interface Followed {
  head: Head
  /** h at every multiple of {@link CHUNK} that was reached, in order. */
  anchors: Uint8Array[]
}

/** Gives the event loop a turn when enough work was done since the last one; `work` in hashes, see {@link createPace}. */
export type Pace = (work: number) => Promise<void>

/** Work of checking one signature, in hashes: about 110 µs against 0.3. */
export const SIGNATURE_WORK = 400

/** Paces work done over `sleep`: a turn for others whenever {@link CHUNK} hashes, or as much work, have been done. */
export function createPace(clock: { sleep(milliseconds: number): Promise<void> }): Pace {
  let done = 0
  return async (work) => {
    done += work
    if (done >= CHUNK) {
      done = 0
      await clock.sleep(0)
    }
  }
}

/** Follows the chain from `from` over the next `bytes`. */
export async function follow(from: Head, bytes: Uint8Array, pace: Pace): Promise<Followed> {
  const anchors: Uint8Array[] = []
  let head = from
  let done = 0
  while (done < bytes.length) {
    const length = Math.min(bytes.length - done, CHUNK - (head.count % CHUNK))
    head = { count: head.count + length, hash: walk(head, bytes.subarray(done, done + length)) }
    done += length
    if (head.count % CHUNK === 0) {
      anchors.push(head.hash)
    }
    await pace(length)
  }
  return { head, anchors }
}

/** h after `bytes`, without a pause: for less than {@link CHUNK} of them. */
export function walk(from: Head, bytes: Uint8Array): Uint8Array {
  // One block of SHA-256, used over and over: h_{n-1}, n as u64 little endian, the byte.
  const block = new Uint8Array(HASH_BYTES + 9)
  const view = new DataView(block.buffer)
  block.set(from.hash)
  for (let index = 0; index < bytes.length; index++) {
    const step = from.count + 1 + index
    view.setUint32(HASH_BYTES, step % 2 ** 32, true)
    view.setUint32(HASH_BYTES + 4, Math.floor(step / 2 ** 32), true)
    block[HASH_BYTES + 8] = bytes[index]!
    // A short string costs a third of a Buffer, whose memory lies outside the heap, and far less to collect.
    const digest = hash('sha256', block, 'binary')
    for (let at = 0; at < HASH_BYTES; at++) {
      block[at] = digest.charCodeAt(at)
    }
  }
  return block.slice(0, HASH_BYTES)
}
