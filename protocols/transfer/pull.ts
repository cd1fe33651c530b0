/** The taking side of bulk transfer: a few chunks outstanding, each checked before it is kept, from one holder after another. */
import { StarlingError } from '../errors.ts'
import { equalBytes, HASH_BYTES, sha256 } from '../hash.ts'
import type { PeerName, Transport } from '../ports.ts'
import {
  type BlobReference,
  blobReferenceSchema,
  CHUNK_BYTES,
  chunkCount,
  chunkLength,
  chunkQuestion,
  hashesQuestion,
  rootOf,
} from './format.ts'
import { hashListBytes } from './serve.ts'

/** Chunks asked for at once. Two keep the link busy while one is checked; more only cost memory (measured with yamux). */
export const DEFAULT_OUTSTANDING = 2

/** Whole time for one chunk or for the list of hashes, ms: 1 MiB in 10 s is a link of 0.84 Mbit/s. */
export const DEFAULT_CHUNK_TIMEOUT = 10_000

/** Refusals that will pass. */
const BUSY: ReadonlySet<string> = new Set(['rate-limited', 'peer-busy', 'ask-overloaded'])

/** Wait before a holder that refused for its rate is asked again, ms. */
const RATE_LIMIT_PAUSE = 1_000

/**
 * Refusals for their rate, less one for each answer, after which a holder is left: an honest one has room for some chunks after each pause, and
 * one that doles them out cannot make a pull last for ever.
 */
const MAX_RATE_REFUSALS = 30

/** Most holders considered; a longer list is cut. */
const MAX_HOLDERS = 64

/** How a pull is doing. */
export interface PullProgress {
  /** Bytes checked and in place. */
  bytes: number
  size: number
  /** The holder of the latest chunk. */
  holder: PeerName
}

/** Options of {@link Blobs.pull}. */
export interface PullOptions {
  signal?: AbortSignal
  /** Chunks asked for at once, 1 to 8. Default {@link DEFAULT_OUTSTANDING}. */
  outstanding?: number
  /** Milliseconds for each chunk. Default {@link DEFAULT_CHUNK_TIMEOUT}. */
  chunkTimeout?: number
  onProgress?: (progress: PullProgress) => void
}

/** Why a holder was left. */
export interface HolderFailure {
  holder: PeerName
  /** The error's code: 'ask-timeout', 'bad-chunk', ... */
  code: string
  reason: string
}

/** What a pull did. */
export interface PullResult {
  bytes: number
  milliseconds: number
  /** Who gave at least one chunk, in order of first use. */
  holders: PeerName[]
  /** Who was left, and why. */
  failures: HolderFailure[]
}

const aborted = (): StarlingError => new StarlingError('aborted', 'the transfer was given up', {})

/** See {@link Blobs.pull}. */
export async function pull(
  transport: Transport,
  holders: readonly PeerName[],
  reference: BlobReference,
  into: Uint8Array,
  options: PullOptions = {},
): Promise<PullResult> {
  const checked = blobReferenceSchema.safeParse(reference)
  if (!checked.success) {
    const issue = checked.error.issues[0]
    throw new StarlingError('bad-reference', `bad blob reference: ${issue?.path.join('.')}: ${issue?.message}`, {})
  }
  const { root, size } = checked.data
  if (into.byteLength !== size) {
    const data = { root, size, room: into.byteLength }
    throw new StarlingError('bad-reference', `the blob has ${size} bytes and the place for it ${into.byteLength}`, data)
  }
  const outstanding = options.outstanding ?? DEFAULT_OUTSTANDING
  if (!Number.isInteger(outstanding) || outstanding < 1 || outstanding > 8) {
    throw new RangeError(`outstanding must be a whole number from 1 to 8, not ${outstanding}`)
  }
  return new Pull(
    transport,
    [...new Set(holders)].slice(0, MAX_HOLDERS),
    { root, size },
    into,
    outstanding,
    options,
  ).run()
}

/** One transfer under way. */
class Pull {
  readonly #transport: Transport
  /** Holders not yet left; the first one is asked. */
  readonly #holders: PeerName[]
  readonly #reference: BlobReference
  readonly #into: Uint8Array
  readonly #outstanding: number
  readonly #timeout: number
  readonly #options: PullOptions
  readonly #used = new Set<PeerName>()
  readonly #failures: HolderFailure[] = []
  readonly #stop = new AbortController()
  #refusals = 0
  #done = 0

  constructor(
    transport: Transport,
    holders: PeerName[],
    reference: BlobReference,
    into: Uint8Array,
    outstanding: number,
    options: PullOptions,
  ) {
    this.#transport = transport
    this.#holders = holders
    this.#reference = reference
    this.#into = into
    this.#outstanding = outstanding
    this.#timeout = options.chunkTimeout ?? DEFAULT_CHUNK_TIMEOUT
    this.#options = options
  }

  async run(): Promise<PullResult> {
    const started = this.#transport.clock.now()
    const { signal } = this.#options
    const abort = (): void => this.#stop.abort(aborted())
    if (signal?.aborted === true) {
      throw aborted()
    }
    signal?.addEventListener('abort', abort, { once: true })
    try {
      const hashes = await this.#fetchHashes()
      await this.#fetchChunks(hashes)
    } finally {
      signal?.removeEventListener('abort', abort)
    }
    return {
      bytes: this.#reference.size,
      milliseconds: this.#transport.clock.now() - started,
      holders: [...this.#used],
      failures: this.#failures,
    }
  }

  async #fetchHashes(): Promise<Uint8Array> {
    const { root, size } = this.#reference
    const length = hashListBytes(size)
    if (size === 0) {
      // Nothing has one name; there is no need to ask for it.
      if (root !== rootOf(new Uint8Array(0), 0)) {
        throw new StarlingError('bad-reference', 'the root is not that of an empty blob', { root, size })
      }
      return new Uint8Array(0)
    }
    const question = hashesQuestion.encode({ root })
    return this.#fromHolders('blob-hashes', question, length, (hashes) => {
      if (hashes.byteLength !== length) {
        return {
          code: 'bad-hash-list',
          reason: `a hash list of ${hashes.byteLength} bytes for a blob that needs ${length}`,
        }
      }
      if (rootOf(hashes, size) !== root) {
        return { code: 'bad-hash-list', reason: 'the hash list does not fit the root' }
      }
      return undefined
    }).then(({ answer }) => answer)
  }

  async #fetchChunks(hashes: Uint8Array): Promise<void> {
    const { root, size } = this.#reference
    const count = chunkCount(size)
    let next = 0
    let failure: unknown
    const worker = async (): Promise<void> => {
      while (next < count && !this.#stop.signal.aborted) {
        const index = next++
        const length = chunkLength(size, index)
        const hash = hashes.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES)
        const question = chunkQuestion.encode({ root, index })
        const { answer, holder } = await this.#fromHolders('blob-chunk', question, length, (chunk) => {
          if (chunk.byteLength !== length) {
            return { code: 'bad-chunk', reason: `chunk ${index} has ${chunk.byteLength} bytes instead of ${length}` }
          }
          return equalBytes(sha256(chunk), hash)
            ? undefined
            : { code: 'bad-chunk', reason: `chunk ${index} does not fit its hash` }
        })
        this.#into.set(answer, index * CHUNK_BYTES)
        this.#used.add(holder)
        this.#done += length
        this.#options.onProgress?.({ bytes: this.#done, size, holder })
      }
    }
    const workers = Array.from({ length: Math.min(this.#outstanding, count) }, () =>
      worker().catch((error: unknown) => {
        // The others stop too, and nothing is written after the pull has failed.
        failure ??= error
        this.#stop.abort(error)
      }),
    )
    await Promise.all(workers)
    if (failure !== undefined) {
      throw failure
    }
    if (this.#stop.signal.aborted) {
      throw aborted()
    }
  }

  /** Asks the first holder, and the next ones as holders fail, until an answer passes the check. */
  async #fromHolders(
    method: string,
    question: Uint8Array,
    maxAnswer: number,
    check: (answer: Uint8Array) => { code: string; reason: string } | undefined,
  ): Promise<{ answer: Uint8Array; holder: PeerName }> {
    const { signal } = this.#stop
    for (;;) {
      if (signal.aborted) {
        throw aborted()
      }
      const holder = this.#holders[0]
      if (holder === undefined) {
        throw this.#exhausted()
      }
      let answer: Uint8Array
      try {
        answer = await this.#transport.ask(holder, method, question, { signal, timeout: this.#timeout, maxAnswer })
      } catch (error) {
        if (signal.aborted) {
          throw aborted()
        }
        await this.#failed(holder, error, signal)
        continue
      }
      if (signal.aborted) {
        throw aborted()
      }
      const fault = check(answer)
      if (fault === undefined) {
        this.#refusals = Math.max(0, this.#refusals - 1)
        return { answer, holder }
      }
      this.#transport.penalize(holder, fault.code)
      this.#leave(holder, fault.code, fault.reason)
    }
  }

  async #failed(holder: PeerName, error: unknown, signal: AbortSignal): Promise<void> {
    if (!(error instanceof StarlingError)) {
      throw error
    }
    if (BUSY.has(error.code) && ++this.#refusals <= MAX_RATE_REFUSALS) {
      await this.#transport.clock.sleep(RATE_LIMIT_PAUSE, signal)
      return
    }
    if (error.code === 'answer-too-large') {
      this.#transport.penalize(holder, 'answer-too-large')
    }
    this.#leave(holder, error.code, error.message)
  }

  #leave(holder: PeerName, code: string, reason: string): void {
    const at = this.#holders.indexOf(holder)
    // Both outstanding questions may fail; the holder is left once.
    if (at >= 0) {
      this.#holders.splice(at, 1)
      this.#refusals = 0
      this.#failures.push({ holder, code, reason })
    }
  }

  #exhausted(): StarlingError {
    const { root, size } = this.#reference
    const reasons = this.#failures.map(({ holder, reason }) => `${holder}: ${reason}`).join('; ')
    const message = reasons === '' ? 'nobody is known to hold it' : reasons
    return new StarlingError('no-holder', `blob ${root.slice(0, 12)} (${size} bytes) could not be had: ${message}`, {
      root,
      size,
      bytes: this.#done,
      failures: this.#failures,
    })
  }
}
