/**
 * A run in one file: its manifest, everything that was contributed, and why anyone was excluded. With the model's common start it is all that is
 * needed to compute the parameters again, bit for bit. A marker line, canonical CBOR, and the SHA-256 of both; every author's signature is in it,
 * so the file proves itself whoever passes it on.
 */
import { z } from 'zod'
import { StarlingError } from '../../errors.ts'
import { equalBytes, HASH_BYTES, sha256 } from '../../hash.ts'
import { MAX_MANIFEST_BYTES, runId } from '../../manifest/index.ts'
import type { Clock, PeerName, Transport } from '../../ports.ts'
import { defineMessage } from '../../wire/index.ts'
import type { ContributionLog, EquivocationProof } from '../types.ts'
import { createPace, follow, originOf, SIGNATURE_BYTES, SIGNATURE_WORK, statementOf } from './chain.ts'
import { AUTHOR_NAME, MAX_NAME, MAX_STEPS, NO_CONTRIBUTION } from './limits.ts'
import { bytesOf, proofSchema } from './messages.ts'
import { checkProof } from './proof.ts'
import { SetDigest } from './set-digest.ts'

/** First line of the file; the number is the format's version. */
const MARKER = Buffer.from('starling run log 1\n')

/** Longest file, bytes: 1,024 authors with 250,000 contributions each. */
export const MAX_RUN_LOG_BYTES = 256 * 1024 * 1024

/** Most authors and most proofs in a file. */
const MAX_AUTHORS = 65_536

interface Body {
  manifest: Uint8Array
  authors: { author: PeerName; bytes: Uint8Array; signature: Uint8Array }[]
  proofs: EquivocationProof[]
}

const body = defineMessage<Body>(
  'spsa-run-log',
  z.strictObject({
    manifest: z
      .instanceof(Uint8Array)
      .refine((bytes) => bytes.length <= MAX_MANIFEST_BYTES, `must have at most ${MAX_MANIFEST_BYTES} bytes`),
    authors: z
      .array(
        z.strictObject({
          author: z.string().max(MAX_NAME).regex(AUTHOR_NAME, 'must be the name of a peer'),
          bytes: z
            .instanceof(Uint8Array)
            .refine(({ length }) => length >= 1 && length <= MAX_STEPS, `must have 1 to ${MAX_STEPS} bytes`),
          signature: bytesOf(SIGNATURE_BYTES),
        }),
      )
      .max(MAX_AUTHORS),
    proofs: z.array(proofSchema).max(MAX_AUTHORS),
  }),
  { maxBytes: MAX_RUN_LOG_BYTES - MARKER.length - HASH_BYTES, maxItems: 32 * MAX_AUTHORS },
)

/** What a file holds, every signature checked. */
export interface RunLog {
  /** The manifest's canonical bytes, of which `run` is the CID. */
  manifest: Uint8Array
  run: string
  /** Contributions by author, sorted by name; excluded authors are not among them. */
  authors: ReadonlyMap<PeerName, Uint8Array>
  proofs: readonly EquivocationProof[]
  /** Of the set, as the log that it was made from says it. */
  digest: Uint8Array
}

/** The file of a log. Throws StarlingError 'bad-message' when there are more than {@link MAX_RUN_LOG_BYTES}. */
export function encodeRunLog({ manifest, log }: { manifest: Uint8Array; log: ContributionLog }): Uint8Array {
  const authors = [...log.version().keys()].sort().map((author) => {
    // Never undefined: whoever is in the version has a signed head.
    const { bytes, signature } = log.segmentOf(author, 1, MAX_STEPS)!
    return { author, bytes, signature }
  })
  const proofs = [...log.excluded().values()].sort((a, b) => (a.author < b.author ? -1 : 1))
  const encoded = body.encode({ manifest, authors, proofs })
  const file = new Uint8Array(MARKER.length + encoded.length + HASH_BYTES)
  file.set(MARKER)
  file.set(encoded, MARKER.length)
  file.set(sha256(file.subarray(0, -HASH_BYTES)), file.length - HASH_BYTES)
  return file
}

/**
 * Reads and verifies a file. The hash is taken in one go, 0.2 s for the longest file, so this is for a process of its own and not for the network
 * thread. Throws StarlingError 'bad-run-log', with the author it is about where there is one.
 */
export async function decodeRunLog(
  file: Uint8Array,
  modules: { verify: Transport['verify']; clock: Pick<Clock, 'sleep'> },
): Promise<RunLog> {
  const bad = (reason: string, author?: PeerName, cause?: unknown): StarlingError =>
    new StarlingError('bad-run-log', `this is no whole run log: ${reason}`, { reason, author }, { cause })
  if (file.length > MAX_RUN_LOG_BYTES || file.length < MARKER.length + HASH_BYTES) {
    throw bad(`it has ${file.length} bytes`)
  }
  if (!equalBytes(file.subarray(0, MARKER.length), MARKER)) {
    throw bad('it does not begin as one of this version')
  }
  if (!equalBytes(sha256(file.subarray(0, -HASH_BYTES)), file.subarray(-HASH_BYTES))) {
    throw bad('it was changed or cut')
  }
  let content: Body
  try {
    content = body.decode(file.subarray(MARKER.length, -HASH_BYTES))
  } catch (error) {
    throw bad(error instanceof Error ? error.message : String(error), undefined, error)
  }
  const { manifest } = content
  const run = runId(manifest)
  const pace = createPace(modules.clock)
  const authors = new Map<PeerName, Uint8Array>()
  const digest = new SetDigest()
  const excluded = new Set<PeerName>()
  for (const proof of content.proofs) {
    if (
      excluded.has(proof.author) ||
      !(await checkProof(proof, { run, steps: MAX_STEPS, verify: modules.verify, pace }))
    ) {
      throw bad(`the proof against ${proof.author} proves nothing`, proof.author)
    }
    excluded.add(proof.author)
    digest.exclude(originOf(run, proof.author))
  }
  for (const { author, bytes, signature } of content.authors) {
    if (authors.has(author) || excluded.has(author) || bytes.includes(NO_CONTRIBUTION)) {
      throw bad(`${author} is in it twice, or excluded, or with a byte that is no contribution`, author)
    }
    const origin = originOf(run, author)
    const { head } = await follow({ count: 0, hash: origin }, bytes, pace)
    await pace(SIGNATURE_WORK)
    if (!(await modules.verify(author, statementOf(origin, head), signature))) {
      throw bad(`the contributions of ${author} do not carry its signature`, author)
    }
    authors.set(author, bytes)
    digest.add(head.hash)
  }
  return { manifest, run, authors, proofs: content.proofs, digest: digest.name() }
}
