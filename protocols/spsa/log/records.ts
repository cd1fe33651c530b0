/**
 * The log on disk. An author has full chunks of {@link CHUNK} contributions, each written once, and a head record with what came after the last of
 * them: chunks first, head last, so that an append is one atomic write and a kill between two writes leaves an older prefix, never a torn one.
 */
import { z } from 'zod'
import { StarlingError } from '../../errors.ts'
import { MAX_RECORD_BYTES, type PeerName, type RecordStore } from '../../ports.ts'
import { defineMessage } from '../../wire/index.ts'
import type { EquivocationProof } from '../types.ts'
import type { AuthorLog } from './author-log.ts'
import { CHUNK, SIGNATURE_BYTES } from './chain.ts'
import { isAuthorName, MAX_STEPS } from './limits.ts'
import { bytesOf, proofSchema } from './messages.ts'

/** Authors written at once: the store joins writes that wait together into one. */
export const PARALLEL = 32

/** Length and signature of an author's prefix, and its contributions after the last full chunk. The chain is computed anew when it is read. */
interface HeadRecord {
  count: number
  signature: Uint8Array
  tail: Uint8Array
}

const headRecord = defineMessage<HeadRecord>(
  'spsa-head',
  z.strictObject({
    count: z.number().int().min(1).max(MAX_STEPS),
    signature: bytesOf(SIGNATURE_BYTES),
    tail: z.instanceof(Uint8Array).refine((tail) => tail.length < CHUNK, 'must be shorter than a chunk'),
  }),
  { maxBytes: CHUNK + 512 },
)

const proofRecord = defineMessage<EquivocationProof>('spsa-proof', proofSchema, { maxBytes: MAX_RECORD_BYTES })

/** What was read of an author; nothing of it is verified but its shape. */
export interface StoredAuthor {
  signature: Uint8Array
  bytes: Uint8Array
}

const headKey = (author: PeerName): string => `log/head/${author}`
const chunkKey = (author: PeerName, index: number): string => `log/chunk/${author}/${index}`
const proofKey = (author: PeerName): string => `log/proof/${author}`

/** The records of one log. */
export class LogRecords {
  readonly #records: RecordStore

  constructor(records: RecordStore) {
    this.#records = records
  }

  /** Authors with a head on disk, at most `limit`. */
  authors(limit: number): Promise<PeerName[]> {
    return this.#names('log/head/', limit)
  }

  /** Authors with a proof on disk, at most `limit`. */
  accused(limit: number): Promise<PeerName[]> {
    return this.#names('log/proof/', limit)
  }

  async #names(prefix: string, limit: number): Promise<PeerName[]> {
    const keys = await this.#records.keys(prefix, limit)
    return keys.map((key) => key.slice(prefix.length)).filter(isAuthorName)
  }

  /** Throws StarlingError 'bad-message' and 'bad-record' when the author's records are damaged or incomplete. */
  async read(author: PeerName): Promise<StoredAuthor | undefined> {
    const record = await this.#records.get(headKey(author))
    if (record === undefined) {
      return undefined
    }
    const { count, signature, tail } = headRecord.decode(record)
    const full = Math.floor(count / CHUNK)
    if (tail.length !== count % CHUNK) {
      throw new StarlingError(
        'bad-record',
        `the head of ${author} holds ${tail.length} contributions after ${full} chunks of ${count}`,
        {
          author,
          count,
        },
      )
    }
    const bytes = new Uint8Array(count)
    for (let index = 0; index < full; index++) {
      const chunk = await this.#records.get(chunkKey(author, index))
      if (chunk?.length !== CHUNK) {
        throw new StarlingError('bad-record', `chunk ${index} of ${author} is missing or cut`, { author, index })
      }
      bytes.set(chunk, index * CHUNK)
    }
    bytes.set(tail, full * CHUNK)
    return { signature, bytes }
  }

  /** Writes an author's whole prefix, of which `saved` contributions are on disk already. */
  async write(author: PeerName, prefix: Uint8Array, signature: Uint8Array, saved: number): Promise<void> {
    const count = prefix.length
    const full = Math.floor(count / CHUNK)
    // Made before the first wait: the prefix may grow meanwhile.
    const tail = prefix.slice(full * CHUNK)
    const record = headRecord.encode({ count, signature, tail })
    for (let index = Math.floor(saved / CHUNK); index < full; index++) {
      await this.#records.put(chunkKey(author, index), prefix.slice(index * CHUNK, (index + 1) * CHUNK))
    }
    await this.#records.put(headKey(author), record)
  }

  /** Writes all that is new of these authors, at most {@link PARALLEL}, all at once. */
  async writeAll(authors: ReadonlyMap<PeerName, AuthorLog>): Promise<void> {
    await Promise.all(
      [...authors].map(async ([author, log]) => {
        const prefix = log.view()
        await this.write(author, prefix, log.signature, log.saved)
        log.saved = prefix.length
      }),
    )
  }

  /** Deletes an author's records, the head first. */
  async drop(author: PeerName, count: number): Promise<void> {
    await this.#records.delete(headKey(author))
    for (let index = 0; index < Math.floor(count / CHUNK); index++) {
      await this.#records.delete(chunkKey(author, index))
    }
  }

  /** Throws StarlingError 'bad-message' when the record is damaged. */
  async readProof(author: PeerName): Promise<EquivocationProof | undefined> {
    const record = await this.#records.get(proofKey(author))
    return record === undefined ? undefined : proofRecord.decode(record)
  }

  async writeProof(proof: EquivocationProof): Promise<void> {
    await this.#records.put(proofKey(proof.author), proofRecord.encode(proof))
  }

  async dropProof(author: PeerName): Promise<void> {
    await this.#records.delete(proofKey(author))
  }
}
