/** Looks on while bytes are fetched from other peers. */
import type { Blobs } from '../../protocols/index.ts'
import type { Transfer } from './types.ts'

export class TransferWatch {
  /** As many as the parts of a node that fetch at once: a handful. */
  readonly #running = new Set<Transfer>()
  readonly #now: () => number

  /** `now` gives milliseconds since the epoch. */
  constructor(now: () => number = Date.now) {
    this.#now = now
  }

  /** The same blobs, each pull of which is looked at. */
  watch(blobs: Blobs): Blobs {
    return {
      offer: (bytes, options) => blobs.offer(bytes, options),
      withdraw: (root, bytes) => blobs.withdraw(root, bytes),
      stop: () => blobs.stop(),
      get offers() {
        return blobs.offers
      },
      pull: async (holders, reference, into, options = {}) => {
        const transfer: Transfer = { bytes: 0, size: reference.size, holder: holders[0], since: this.#now() }
        this.#running.add(transfer)
        try {
          return await blobs.pull(holders, reference, into, {
            ...options,
            onProgress: (progress) => {
              transfer.bytes = progress.bytes
              transfer.holder = progress.holder
              options.onProgress?.(progress)
            },
          })
        } finally {
          this.#running.delete(transfer)
        }
      },
    }
  }

  /** The largest one that is under way. */
  get largest(): Transfer | undefined {
    return [...this.#running].sort((a, b) => b.size - a.size)[0]
  }
}
