/** What a run says about its data. Plain data: every peer derives the same splits and shards from it. */
import * as z from 'zod'
import { alternatives, type ContentFile, contentFile, MAX_FILE_BYTES, real, show, table, whole } from '../fields.ts'

/** Longest file that a data set is read from; it is held in memory. */
export const MAX_DATA_BYTES = MAX_FILE_BYTES

/** Most peers that data are cut for. */
export const MAX_PARTS = 4096

const literal = <const Value extends string>(value: Value) => z.literal(value)

const file = contentFile()

/** A file that travels with the run: named by content, found by any path. */
export type DataFile = ContentFile

/** The error of a table whose variant is named by one of its keys. */
function chosenBy(key: string, names: readonly string[]) {
  return ({ input }: { input?: unknown }) =>
    typeof input === 'object' && input !== null && key in input
      ? `must be ${alternatives(names)}, not ${show((input as Record<string, unknown>)[key])}`
      : `must be a table with ${key} (${alternatives(names)}), not ${show(input)}`
}

const shardRules = ['shuffled', 'same', 'disjoint', 'dirichlet'] as const

/** Into how many parts the data are cut. Without it: the number of peers where that is given, else {@link OPEN_PARTS}. */
const of = whole(1, MAX_PARTS).optional()

const shard = z.discriminatedUnion(
  'rule',
  [
    table({ rule: literal('shuffled') }),
    table({ rule: literal('same') }),
    table({ rule: literal('disjoint'), of }),
    table({ rule: literal('dirichlet'), alpha: real(0.001, 1000).default(0.5), of }),
  ],
  {
    error: chosenBy('rule', shardRules),
  },
)

/** How training data are divided among peers; see shards.ts. */
export type ShardSpec = z.infer<typeof shard>

/** Parts when peers come and go and the run does not say how many: a peer's part is then the hash of its name modulo this. */
export const OPEN_PARTS = 8

/** How much of a text is held out, and how many rows of that are looked at. */
export const textValidation = table({
  fraction: real(0.001, 0.5).default(0.05),
  rows: whole(1, 65536).default(64),
}).prefault({})

const imageValidation = table({
  fraction: real(0.001, 0.5).default(0.1),
  rows: whole(1, 1_000_000).default(1000),
}).prefault({})

const common = { shard: shard.prefault({ rule: 'shuffled' }) }

/** Size of the embedded stories when the run does not say. */
export const STORIES_BYTES = 2_000_000
/** Number of embedded drawings when the run does not say. */
export const DIGITS_COUNT = 10_000

const sources = ['stories', 'digits', 'text', 'images'] as const

/** Schema of {@link DataSpec}. Parsing fills in the defaults, so a parsed spec is complete. */
export const dataSchema = z.discriminatedUnion(
  'source',
  [
    table({
      source: literal('stories'),
      /** Another seed, other stories. */
      seed: whole(0, 2 ** 32 - 1).default(1),
      bytes: whole(20_000, 64_000_000).default(STORIES_BYTES),
      validation: textValidation,
      ...common,
    }),
    table({
      source: literal('digits'),
      seed: whole(0, 2 ** 32 - 1).default(1),
      images: whole(100, 200_000).default(DIGITS_COUNT),
      validation: imageValidation,
      ...common,
    }),
    table({ source: literal('text'), file, validation: textValidation, ...common }),
    table({
      source: literal('images'),
      /** IDX file of bytes, images x height x width; plain or gzip. */
      images: file,
      /** IDX file of bytes, one label per image; plain or gzip. */
      labels: file,
      height: whole(1, 1024),
      width: whole(1, 1024),
      classes: whole(2, 256),
      validation: imageValidation,
      ...common,
    }),
  ],
  {
    error: chosenBy('source', sources),
  },
)

/** The part `data` of a run, complete with defaults. */
export type DataSpec = z.output<typeof dataSchema>
/** The part `data` of a run as a user writes it. */
export type DataInput = z.input<typeof dataSchema>
