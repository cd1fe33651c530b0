/** What an earlier process left on disk, verified from the first byte: what does not fit is dropped, and others have it. */
import { StarlingError } from '../../errors.ts'
import type { PeerName, Transport } from '../../ports.ts'
import type { Report } from '../../strategy.ts'
import type { EquivocationProof } from '../types.ts'
import { AuthorLog } from './author-log.ts'
import { follow, originOf, type Pace, SIGNATURE_WORK, statementOf } from './chain.ts'
import { checkProof } from './proof.ts'
import type { LogRecords } from './records.ts'

/** What was found. */
export interface Loaded {
  authors: Map<PeerName, AuthorLog>
  excluded: Map<PeerName, EquivocationProof>
  /** There were records of this peer itself and they did not fit. */
  ownDamaged: boolean
}

/** Loads at most `maxAuthors` authors, excluded ones included. */
export async function load(
  records: LogRecords,
  options: { run: string; self: PeerName; steps: number; maxAuthors: number },
  modules: { verify: Transport['verify']; report: Report; pace: Pace },
): Promise<Loaded> {
  const { run, self, steps, maxAuthors } = options
  const { verify, report, pace } = modules
  const loaded: Loaded = { authors: new Map(), excluded: new Map(), ownDamaged: false }

  /** What `read` gives; undefined, and reported, when the stored bytes are not what was written. */
  const checked = async <T>(
    author: PeerName,
    what: string,
    read: () => Promise<T | undefined>,
  ): Promise<T | undefined> => {
    let reason = 'bad-signature'
    try {
      const value = await read()
      if (value !== undefined) {
        return value
      }
    } catch (error) {
      if (!(error instanceof StarlingError && (error.code === 'bad-message' || error.code === 'bad-record'))) {
        throw error
      }
      reason = error.message
    }
    report({ kind: 'rejected', peer: author, what: `stored ${what}`, reason })
    return undefined
  }

  const readProof = async (author: PeerName): Promise<EquivocationProof | undefined> => {
    const proof = await records.readProof(author)
    const proves = proof?.author === author && (await checkProof(proof, { run, steps, verify, pace }))
    return proves ? proof : undefined
  }

  const readAuthor = async (author: PeerName): Promise<AuthorLog | undefined> => {
    const stored = await records.read(author)
    if (stored === undefined || stored.bytes.length > steps) {
      return undefined
    }
    const log = new AuthorLog(originOf(run, author))
    const followed = await follow(log.head, stored.bytes, pace)
    await pace(SIGNATURE_WORK)
    if (!(await verify(author, statementOf(log.origin, followed.head), stored.signature))) {
      return undefined
    }
    log.extend(stored.bytes, followed, stored.signature)
    log.saved = log.count
    return log
  }

  for (const author of await records.accused(maxAuthors)) {
    const proof = await checked(author, 'proof', () => readProof(author))
    if (proof === undefined) {
      await records.dropProof(author)
    } else {
      loaded.excluded.set(author, proof)
    }
  }
  for (const author of await records.authors(maxAuthors)) {
    if (loaded.excluded.has(author)) {
      // Killed between writing the proof and deleting what it excludes.
      await records.drop(author, steps)
      continue
    }
    const log = await checked(author, 'contributions', () => readAuthor(author))
    if (log !== undefined) {
      loaded.authors.set(author, log)
    } else if (author === self) {
      // Left where it is until something is written over it: a kill before that must not look like a peer that never spoke.
      loaded.ownDamaged = true
    } else {
      await records.drop(author, steps)
    }
  }
  return loaded
}
