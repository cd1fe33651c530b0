/** The giving side of bulk transfer: it only answers, and only for what has been offered. */
import { StarlingError } from '../errors.ts'
import { HASH_BYTES } from '../hash.ts'
import type { PeerName, Transport } from '../ports.ts'
import { RateLimit } from '../rate-limit.ts'
import {
  type BlobReference,
  CHUNK_BYTES,
  chunkCount,
  chunkLength,
  chunkQuestion,
  hashBlob,
  hashesQuestion,
} from './format.ts'

/** Most blobs offered at once; the one that expires first makes room. A replica of pieces is a few hundred. */
export const MAX_OFFERS = 4096

/** Longest wait before an answer that would exceed the rate, ms; beyond it the asker is refused and comes back later. */
const MAX_SHAPING_DELAY = 2_000

/** Peers whose rates are remembered. */
const MAX_RATE_KEYS = 1024

/** Options of the giving side. */
export interface ServeOptions {
  /** Bytes per second to one peer in the long run. Default 512 MiB/s. */
  peerRate?: number
  /** Bytes per second to all peers together. Default 1 GiB/s. */
  totalRate?: number
}

/** How to offer. */
export interface OfferOptions {
  /** How long the offer stands, ms. */
  ttl: number
  signal?: AbortSignal
}

/** One root. Two callers may offer equal bytes, and one of them may end its offer and write to its bytes before the other does. */
interface Offer {
  hashes: Uint8Array
  /** Equal bytes of different callers, oldest first; never empty. Counted by {@link MAX_SOURCES}. */
  sources: { bytes: Uint8Array; expires: number }[]
}

/** Most equal offers kept for one root: vectors of zeros in many layers and rounds. The oldest goes. */
const MAX_SOURCES = 1024

/** Answers 'blob-hashes' and 'blob-chunk'. */
export class BlobServer {
  readonly #transport: Transport
  readonly #stops: (() => void)[]
  /** Offers by root, at most {@link MAX_OFFERS}; expired ones go first, then the one next to expire. */
  readonly #offers = new Map<string, Offer>()
  readonly #peers: RateLimit
  readonly #total: RateLimit

  constructor(options: ServeOptions, transport: Transport) {
    const peerRate = options.peerRate ?? 512 * 1024 ** 2
    const totalRate = options.totalRate ?? 1024 ** 3
    this.#transport = transport
    // A burst of one second's worth, but always room for two chunks, the most a peer may have outstanding.
    this.#peers = new RateLimit({ rate: peerRate, burst: Math.max(peerRate, 2 * CHUNK_BYTES), keys: MAX_RATE_KEYS })
    this.#total = new RateLimit({ rate: totalRate, burst: Math.max(totalRate, 2 * CHUNK_BYTES), keys: 1 })
    this.#stops = [
      transport.answer('blob-hashes', (from, question, signal) => this.#hashes(from, question, signal)),
      transport.answer('blob-chunk', (from, question, signal) => this.#chunk(from, question, signal)),
    ]
  }

  async offer(bytes: Uint8Array, options: OfferOptions): Promise<BlobReference> {
    const { reference, hashes } = await hashBlob(bytes, this.#transport.clock, options.signal)
    const expires = this.#transport.clock.now() + options.ttl
    const known = this.#offers.get(reference.root)
    if (known !== undefined) {
      known.sources.push({ bytes, expires })
      if (known.sources.length > MAX_SOURCES) {
        known.sources.shift()
      }
      return reference
    }
    if (this.#offers.size >= MAX_OFFERS) {
      this.#makeRoom()
    }
    this.#offers.set(reference.root, { hashes, sources: [{ bytes, expires }] })
    return reference
  }

  withdraw(root: string, bytes?: Uint8Array): void {
    const offer = this.#offers.get(root)
    if (offer === undefined) {
      return
    }
    const same = (other: Uint8Array): boolean =>
      bytes === undefined || (other.buffer === bytes.buffer && other.byteOffset === bytes.byteOffset)
    const at = offer.sources.findIndex((source) => same(source.bytes))
    if (at >= 0) {
      offer.sources.splice(at, 1)
    }
    if (offer.sources.length === 0) {
      this.#offers.delete(root)
    }
  }

  stop(): void {
    for (const stop of this.#stops.splice(0)) {
      stop()
    }
    this.#offers.clear()
  }

  get size(): number {
    this.#dropExpired()
    return this.#offers.size
  }

  #dropExpired(): void {
    const now = this.#transport.clock.now()
    for (const [root, offer] of this.#offers) {
      offer.sources = offer.sources.filter(({ expires }) => expires > now)
      if (offer.sources.length === 0) {
        this.#offers.delete(root)
      }
    }
  }

  #makeRoom(): void {
    this.#dropExpired()
    if (this.#offers.size < MAX_OFFERS) {
      return
    }
    let first: string | undefined
    let earliest = Number.POSITIVE_INFINITY
    for (const [root, offer] of this.#offers) {
      const expires = Math.max(...offer.sources.map((source) => source.expires))
      if (expires < earliest) {
        first = root
        earliest = expires
      }
    }
    if (first !== undefined) {
      this.#offers.delete(first)
    }
  }

  #find(root: string): { bytes: Uint8Array; hashes: Uint8Array } {
    const now = this.#transport.clock.now()
    const offer = this.#offers.get(root)
    const source = offer?.sources.find(({ expires }) => expires > now)
    if (offer === undefined || source === undefined) {
      this.#offers.delete(root)
      throw new StarlingError('no-such-blob', 'this peer does not offer that blob', { root })
    }
    return { bytes: source.bytes, hashes: offer.hashes }
  }

  async #hashes(from: PeerName, question: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const { root } = hashesQuestion.decode(question)
    const offer = this.#find(root)
    await this.#shape(from, offer.hashes.byteLength, signal)
    return offer.hashes
  }

  async #chunk(from: PeerName, question: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const { root, index } = chunkQuestion.decode(question)
    const size = this.#find(root).bytes.byteLength
    if (index >= chunkCount(size)) {
      throw new StarlingError('no-such-chunk', `the blob has ${chunkCount(size)} chunks, not ${index + 1}`, {
        root,
        index,
      })
    }
    await this.#shape(from, chunkLength(size, index), signal)
    // Looked up again, because the offer may have ended during the wait; copied, because it may end while the answer is on its way.
    return new Uint8Array(this.#find(root).bytes.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES))
  }

  /** Waits until both rates have room for that many bytes. */
  async #shape(from: PeerName, bytes: number, signal: AbortSignal): Promise<void> {
    const now = this.#transport.clock.now()
    const delay = Math.max(this.#peers.delay(from, bytes, now), this.#total.delay('all', bytes, now))
    if (delay > MAX_SHAPING_DELAY) {
      throw new StarlingError('rate-limited', `wait ${Math.ceil(delay)} ms before asking for more`, { delay })
    }
    this.#peers.spend(from, bytes, now)
    this.#total.spend('all', bytes, now)
    if (delay > 0) {
      await this.#transport.clock.sleep(delay, signal)
    }
  }
}

/** Bytes of the chunk list of a blob of that size. */
export function hashListBytes(size: number): number {
  return chunkCount(size) * HASH_BYTES
}
