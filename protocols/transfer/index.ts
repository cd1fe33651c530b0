/**
 * Bulk data between peers, named by its hash and pulled, never pushed. The giver only answers; the taker has at most two chunks of
 * 1 MiB outstanding, checks each before it is kept, and goes on from another holder where one fails.
 */
import type { PeerName, Transport } from '../ports.ts'
import type { BlobReference } from './format.ts'
import { type PullOptions, type PullResult, pull } from './pull.ts'
import { BlobServer, type OfferOptions, type ServeOptions } from './serve.ts'

export { type CopyOptions, type Giving, giveCopies } from './copies.ts'
export { type BlobReference, blobReferenceSchema, CHUNK_BYTES, hashBlob, MAX_BLOB_BYTES } from './format.ts'
export {
  DEFAULT_CHUNK_TIMEOUT,
  DEFAULT_OUTSTANDING,
  type HolderFailure,
  type PullOptions,
  type PullProgress,
  type PullResult,
} from './pull.ts'
export { MAX_OFFERS, type OfferOptions, type ServeOptions } from './serve.ts'

/** Both sides of bulk transfer for one peer. */
export interface Blobs {
  /**
   * Gives the bytes to whoever asks for them by hash, for `ttl` ms; equal bytes may be offered several times over. They are not
   * copied: they must not change before they are withdrawn or expired. At most {@link MAX_OFFERS} offers stand; the one that
   * expires first makes room. Throws StarlingError 'aborted' and 'bad-blob'.
   */
  offer(bytes: Uint8Array, options: OfferOptions): Promise<BlobReference>
  /**
   * Ends one offer: the one of these very bytes, or the oldest with that root. What is being sent of it at this moment was copied
   * before, so the bytes may be written to at once.
   */
  withdraw(root: string, bytes?: Uint8Array): void
  /**
   * Fetches a blob into `into`, of exactly `reference.size` bytes, from the first holder that can, and from the next ones where it
   * fails; chunks that were checked are not fetched again. When it throws, `into` holds checked chunks and untouched bytes, and
   * nothing is written to it afterwards. Holders that are proven wrong (bad hash, too long) are penalized, slow or silent ones only
   * left. Throws StarlingError 'bad-reference', 'aborted', and 'no-holder' with data.failures when every holder failed.
   */
  pull(
    holders: readonly PeerName[],
    reference: BlobReference,
    into: Uint8Array,
    options?: PullOptions,
  ): Promise<PullResult>
  /** Number of standing offers. */
  readonly offers: number
  /** Ends every offer and stops answering; pulls under way end with 'aborted'. */
  stop(): void
}

/** Bulk transfer over a transport. Answers the methods 'blob-hashes' and 'blob-chunk' until stopped. */
export function createBlobs(transport: Transport, options: ServeOptions = {}): Blobs {
  const server = new BlobServer(options, transport)
  const stopped = new AbortController()
  return {
    offer: (bytes, offered) => server.offer(bytes, offered),
    withdraw: (root, bytes) => server.withdraw(root, bytes),
    async pull(holders, reference, into, pulled = {}) {
      // Not AbortSignal.any: on Node 20 a signal that lives as long as the process keeps something of every signal made from it.
      const ended = new AbortController()
      const sources = [stopped.signal, ...(pulled.signal === undefined ? [] : [pulled.signal])]
      const end = (): void => ended.abort()
      for (const source of sources) {
        if (source.aborted) {
          end()
        }
        source.addEventListener('abort', end, { once: true })
      }
      try {
        return await pull(transport, holders, reference, into, { ...pulled, signal: ended.signal })
      } finally {
        for (const source of sources) {
          source.removeEventListener('abort', end)
        }
      }
    },
    get offers() {
      return server.size
    },
    stop() {
      stopped.abort()
      server.stop()
    },
  }
}
