/** What peers say to each other about contributions: news by gossip, and the questions of anti-entropy. */
import { z } from 'zod'
import { HASH_BYTES } from '../../hash.ts'
import type { PeerName } from '../../ports.ts'
import { defineMessage } from '../../wire/index.ts'
import type { EquivocationProof } from '../types.ts'
import { SIGNATURE_BYTES } from './chain.ts'
import { AUTHOR_NAME, MAX_NAME, MAX_STEPS } from './limits.ts'

/** Topic of new contributions and of proofs. */
export const CONTRIBUTIONS_TOPIC = 'contributions'

/** Method of {@link import('../../ports.ts').Transport.ask} for all of anti-entropy. */
export const SYNC_METHOD = 'spsa-sync'

/** Most contributions in one gossip message. */
export const MAX_BATCH = 1024

/** Largest proof that travels by gossip, encoded; larger ones are asked for. */
export const MAX_GOSSIP_PROOF = 32 * 1024

/** Authors in one page of a version vector, and in one question for segments: what is read and written in a few milliseconds. */
export const PAGE = 128

/** Segments are added to an answer until it holds so many contributions; the first one is added whatever its length. */
export const ANSWER_BYTES = 128 * 1024

/** Longest answer: one whole history, or {@link ANSWER_BYTES} and a history that was begun, or a proof. */
export const MAX_ANSWER = 1024 * 1024

/** Schema of that many bytes. */
export const bytesOf = (length: number): z.ZodType<Uint8Array> =>
  z.instanceof(Uint8Array).refine((value) => value.length === length, `must have ${length} bytes`)
const author = z.string().max(MAX_NAME).regex(AUTHOR_NAME, 'must be the name of a peer')
const step = z.number().int().min(1).max(MAX_STEPS)
const contributions = z
  .instanceof(Uint8Array)
  .refine((value) => value.length >= 1 && value.length <= MAX_STEPS, `must have 1 to ${MAX_STEPS} bytes`)

const branch = z.strictObject({ bytes: contributions, signature: bytesOf(SIGNATURE_BYTES) })

/** Schema of {@link EquivocationProof}. */
export const proofSchema: z.ZodType<EquivocationProof> = z.strictObject({
  author,
  step,
  before: bytesOf(HASH_BYTES),
  branches: z.tuple([branch, branch]),
})

/** New contributions; their author is the signer of the message. */
export interface SegmentNews {
  kind: 'segment'
  from: number
  bytes: Uint8Array
  signature: Uint8Array
}

/** A proof, from whoever has it. */
export interface ProofNews {
  kind: 'proof'
  proof: EquivocationProof
}

/** One gossip message of {@link CONTRIBUTIONS_TOPIC}. */
export type News = SegmentNews | ProofNews

export const news = defineMessage<News>(
  'spsa-news',
  z.discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('segment'),
      from: step,
      bytes: contributions.refine((value) => value.length <= MAX_BATCH, `must have at most ${MAX_BATCH} bytes`),
      signature: bytesOf(SIGNATURE_BYTES),
    }),
    z.strictObject({ kind: z.literal('proof'), proof: proofSchema }),
  ]),
  { maxBytes: MAX_GOSSIP_PROOF + 1024, maxItems: 64 },
)

/** An author, and a count or a step of it. */
export type Entry = [author: PeerName, count: number]

/** An author, its count and the beginning of its head: two histories of one length differ in it. */
export type VersionEntry = [author: PeerName, count: number, head: Uint8Array]

/** Bytes of a head in a version vector. Equality of sets rests on the digest; this only shows where they differ. */
export const HEAD_TAG_BYTES = 8

const versions = z.array(z.tuple([author, step, bytesOf(HEAD_TAG_BYTES)])).max(PAGE) as z.ZodType<VersionEntry[]>

const entries = z.array(z.tuple([author, step])).max(PAGE) as z.ZodType<Entry[]>

/**
 * version: is your set this one? If not, whom do you have, beginning after the author `after` (''). segments: give me these authors' contributions
 * from these steps on. proof: show me what you exclude that author for.
 */
export type SyncQuestion =
  | { ask: 'version'; digest: Uint8Array; after: PeerName }
  | { ask: 'segments'; wanted: Entry[] }
  | { ask: 'proof'; author: PeerName }

export const syncQuestion = defineMessage<SyncQuestion>(
  'spsa-sync',
  z.discriminatedUnion('ask', [
    z.strictObject({
      ask: z.literal('version'),
      digest: bytesOf(HASH_BYTES),
      after: z.union([author, z.literal('')]),
    }),
    z.strictObject({ ask: z.literal('segments'), wanted: entries }),
    z.strictObject({ ask: z.literal('proof'), author }),
  ]),
  { maxBytes: 24 * 1024, maxItems: 3 * PAGE + 16 },
)

/**
 * equal: it is. page: a part of a version vector, sorted by author, with the excluded authors that fall into it; `more` when others follow.
 */
export type VersionAnswer =
  | { equal: true }
  | { equal: false; digest: Uint8Array; page: VersionEntry[]; excluded: PeerName[]; more: boolean }

export const versionAnswer = defineMessage<VersionAnswer>(
  'spsa-version',
  z.discriminatedUnion('equal', [
    z.strictObject({ equal: z.literal(true) }),
    z.strictObject({
      equal: z.literal(false),
      digest: bytesOf(HASH_BYTES),
      page: versions,
      excluded: z.array(author).max(PAGE),
      more: z.boolean(),
    }),
  ]),
  { maxBytes: 32 * 1024, maxItems: 5 * PAGE + 16 },
)

/** A segment as it travels: author, first step, bytes, signature. */
export type SegmentEntry = [author: PeerName, from: number, bytes: Uint8Array, signature: Uint8Array]

/** Some of the wanted segments, the first one always; what is missing is asked for again. */
export const segmentsAnswer = defineMessage<{ segments: SegmentEntry[] }>(
  'spsa-segments',
  z.strictObject({
    segments: z.array(z.tuple([author, step, contributions, bytesOf(SIGNATURE_BYTES)])).max(PAGE) as z.ZodType<
      SegmentEntry[]
    >,
  }),
  { maxBytes: MAX_ANSWER, maxItems: 5 * PAGE + 16 },
)

export const proofAnswer = defineMessage<{ proof: EquivocationProof }>(
  'spsa-proof',
  z.strictObject({ proof: proofSchema }),
  {
    maxBytes: MAX_ANSWER,
    maxItems: 64,
  },
)
