/** Giving a vector that changes all the time: others fetch a copy of it, taken when it is first asked for and kept while it is fetched. */
import { StarlingError } from '../errors.ts'
import type { Transport } from '../ports.ts'
import type { BlobReference } from './format.ts'
import type { Blobs } from './index.ts'

/** Time for which a copy is given out before a new one is taken, ms, plus what the slowest taker needs for it. */
const COPY_TTL = 30_000

/** Rate at which a taker must at least fetch, bytes per ms (2 Mbit/s), or the copy expires under it and it asks again. */
const SLOWEST = 250

/** Options of {@link giveCopies}. */
export interface CopyOptions<About> {
  /** The question by which takers ask what is on offer. */
  method: string
  /** Where the copy lies. Nobody else writes there, except while {@link Giving.pause} holds. */
  bytes: Uint8Array
  /** Whether there is anything to give yet. */
  ready(): boolean
  /** Takes a copy into `bytes`, and says of what. */
  copy(): Promise<About>
  /** The answer. */
  answer(about: About, reference: BlobReference): Uint8Array
}

/** Copies on offer to others. */
export interface Giving {
  /** Gives nothing until resumed: the bytes from which others fetch are about to be written to. Resolves when they may be. */
  pause(): Promise<void>
  resume(): void
  stop(): void
}

/** Answers `options.method`, with 'not-ready' where there is nothing to give, until stopped. */
export function giveCopies<About>(
  { swarm, blobs }: { swarm: Transport; blobs: Blobs },
  options: CopyOptions<About>,
): Giving {
  const { method, bytes } = options
  let current: { reference: BlobReference; about: About; until: number } | undefined
  let taking: Promise<void> | undefined
  let paused = false

  const withdraw = (): void => {
    if (current !== undefined) {
      blobs.withdraw(current.reference.root)
      current = undefined
    }
  }

  const take = async (): Promise<void> => {
    withdraw()
    const about = await options.copy()
    const ttl = COPY_TTL + bytes.byteLength / SLOWEST
    const reference = await blobs.offer(bytes, { ttl })
    current = { reference, about, until: swarm.clock.now() + ttl }
  }

  const notReady = (): never => {
    throw new StarlingError('not-ready', 'this peer has nothing to give yet', { method })
  }

  const stop = swarm.answer(method, async () => {
    if (!options.ready() || paused) {
      return notReady()
    }
    // One copy for all takers: it is not overwritten before its time, or those who are fetching it would get pieces of two.
    if (current === undefined || swarm.clock.now() >= current.until) {
      taking ??= take().finally(() => {
        taking = undefined
      })
      await taking
    }
    return current === undefined ? notReady() : options.answer(current.about, current.reference)
  })

  return {
    stop,
    async pause() {
      paused = true
      // Whoever asked for the copy hears of an error in taking it.
      await taking?.catch(() => undefined)
      withdraw()
    },
    resume() {
      paused = false
    },
  }
}
