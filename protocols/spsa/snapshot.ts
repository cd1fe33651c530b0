/**
 * Sums handed from one peer to another, with the set that they hold, so that a joiner need not replay the whole log. The taker believes nothing: it
 * has the signed log, and recomputes random blocks of the sums from it before it takes them over.
 */
import { z } from 'zod'
import { StarlingError } from '../errors.ts'
import { toHex } from '../hash.ts'
import type { PeerName } from '../ports.ts'
import { seededRandom } from '../random.ts'
import type { StrategyModules } from '../strategy.ts'
import {
  type BlobReference,
  blobReferenceSchema,
  type Giving,
  giveCopies,
  type PullProgress,
} from '../transfer/index.ts'
import { defineMessage } from '../wire/index.ts'
import { effectsBetween } from './effects.ts'
import { AUTHOR_NAME, MAX_STEPS } from './log/limits.ts'
import { equalVersions, towards } from './path.ts'
import type { Sums } from './sums.ts'
import { AUDIT_BLOCK, auditTask } from './tasks.ts'
import type { ContributionLog, VersionVector } from './types.ts'
import type { WeightRule } from './weights.ts'

/** Method of {@link import('../ports.ts').Transport.ask}. */
export const SNAPSHOT_METHOD = 'spsa-snapshot'

/** Authors in a snapshot at most; the option `maxAuthors` allows no more. */
const MAX_AUTHORS = 1_024

/** Whole time for the name of a snapshot, ms: the giver may have to finish an evaluation, copy and hash. */
const NAME_TIMEOUT = 60_000

/** Blocks of the sums that are recomputed. Sums that differ in one contribution differ in every block; who alters a share p of the blocks passes with (1 - p)^16. */
const AUDITED_BLOCKS = 16

/** Contributions whose effect on the audited blocks is computed in one go: a few ten ms. */
const AUDIT_SLICE = 8_192

/** What a snapshot is called, and where it can be fetched. */
export interface Snapshot extends BlobReference {
  /** The set that the sums hold. */
  version: VersionVector
}

/** What a peer answers to {@link SNAPSHOT_METHOD}. */
export const snapshotAnswer = defineMessage(
  'spsa-snapshot',
  z.strictObject({
    ...blobReferenceSchema.shape,
    version: z
      .array(
        z.tuple([z.string().regex(AUTHOR_NAME, 'must be the name of a peer'), z.number().int().min(1).max(MAX_STEPS)]),
      )
      .max(MAX_AUTHORS),
  }),
  { maxBytes: 96 * 1024, maxItems: 3 * MAX_AUTHORS + 16 },
)

export interface SnapshotModules extends Pick<StrategyModules, 'swarm' | 'learner' | 'blobs'> {
  log: ContributionLog
  sums: Sums
  rule: WeightRule
}

/** Gives the sums to whoever asks, from a copy, while training goes on. */
export function giveSnapshots({ swarm, learner, blobs, sums }: SnapshotModules): Giving {
  return giveCopies(
    { swarm, blobs },
    {
      method: SNAPSHOT_METHOD,
      bytes: learner.bytes('snapshot'),
      ready: () => sums.version.size > 0,
      copy: () => sums.copy(),
      answer: (version, reference) => snapshotAnswer.encode({ ...reference, version: [...version].sort() }),
    },
  )
}

/** Asks a peer for the name of its snapshot. Throws what {@link import('../ports.ts').Transport.ask} does, 'bad-message' and 'bad-snapshot'. */
export async function askForSnapshot(
  { swarm, learner }: SnapshotModules,
  peer: PeerName,
  signal: AbortSignal,
): Promise<Snapshot> {
  const options = { signal, timeout: NAME_TIMEOUT, maxAnswer: snapshotAnswer.maxBytes }
  const { root, size, version } = snapshotAnswer.decode(
    await swarm.ask(peer, SNAPSHOT_METHOD, new Uint8Array(0), options),
  )
  const expected = learner.bytes('snapshot').byteLength
  if (size !== expected) {
    throw new StarlingError('bad-snapshot', `its sums have ${size} bytes instead of ${expected}`, { peer })
  }
  return { root, size, version: new Map(version) }
}

/**
 * Fetches the sums into the vector 'snapshot' and checks them against the log, which must hold all of the set. Throws 'bad-snapshot' when they are not
 * the sums of that set, and what {@link import('../transfer/index.ts').Blobs.pull} does.
 */
export async function fetchSnapshot(
  modules: SnapshotModules,
  peer: PeerName,
  snapshot: Snapshot,
  options: { signal: AbortSignal; onProgress?: (progress: PullProgress) => void },
): Promise<void> {
  const { root, size, version } = snapshot
  // One giver only: the sums of two peers are those of two sets.
  await modules.blobs.pull([peer], { root, size }, modules.learner.bytes('snapshot'), options)
  const block = await audit(modules, 'snapshot', version, root, options.signal)
  if (block !== undefined) {
    const message = `its sums are not those of the contributions that it names: block ${block} differs`
    throw new StarlingError('bad-snapshot', message, { peer, block })
  }
}

/**
 * Recomputes random blocks of the sums of a set, all of which the log holds. Returns the first that differs from those in `vector`; undefined when all
 * agree.
 */
export async function audit(
  { swarm, learner, log, rule }: Omit<SnapshotModules, 'blobs' | 'sums'>,
  vector: 'sums' | 'snapshot',
  version: VersionVector,
  about: string,
  signal: AbortSignal,
): Promise<number | undefined> {
  // Nobody else can foresee which blocks: the seed is a signature, which takes this peer's key.
  const secret = await swarm.sign(new TextEncoder().encode(`starling/spsa/audit/1 ${swarm.run} ${about}`))
  const random = seededRandom('spsa-audit', toHex(secret))
  const count = Math.ceil(learner.size / AUDIT_BLOCK)
  const blocks = [...new Set(Array.from({ length: AUDITED_BLOCKS }, () => random.integer(count)))].sort((a, b) => a - b)
  // Copies: an author may be excluded meanwhile, and what is audited holds its contributions all the same.
  const held = new Map([...version].map(([author, count]) => [author, log.bytesOf(author).slice(0, count)]))
  const bytesOf = (author: PeerName): Uint8Array => held.get(author) ?? new Uint8Array(0)
  let at: VersionVector = new Map()
  let first = true
  for (;;) {
    signal.throwIfAborted()
    const next = towards(at, version, AUDIT_SLICE)
    const last = equalVersions(next, version)
    const effects = effectsBetween(at, next, bytesOf, rule)
    const { mismatch } = await learner.compute(
      auditTask,
      { run: swarm.run, effects, rule, blocks, vector, first, last },
      signal,
    )
    if (last) {
      return mismatch
    }
    at = next
    first = false
  }
}
