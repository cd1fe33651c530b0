/** The part `strategy` of a run with `name: gossip`. */
import { z } from 'zod'
import { CODEC_NAMES } from '../codecs/index.ts'
import { sendingFault } from '../feedback/index.ts'

/** How a group of fragments is mixed; see protocols/mixing. */
export const RULES = ['nearest', 'clipped', 'mean'] as const

/** Most fragments a model is cut into; larger ones are then announced and pulled instead of gossiped. */
export const MAX_FRAGMENTS = 4_096

/** Codes in which a model may travel between peers that have no common base. */
const CODECS = ['int8', 'int8-stochastic', 'float16', 'float32'] as const

/** What is wrong with a code that is known, but not for this strategy; where undefined, the schema's own words are used. */
function codecFault(input: unknown): string | undefined {
  const known = CODEC_NAMES.find((name) => name === input)
  const fault = known === undefined ? undefined : sendingFault('pair-gossip', { codec: known, memory: 'none' })
  return fault === undefined ? undefined : `must be ${CODECS.map((name) => `"${name}"`).join(' or ')}: ${fault}`
}

export const gossipOptionsSchema = z.strictObject({
  /** Fragments that the model is cut into. Default: the smallest power of two, from 4 on, with which an encoded fragment fits into one gossip message. */
  fragments: z.number().int().min(1).max(MAX_FRAGMENTS).optional(),
  /** Local optimizer steps from one published fragment to the next. */
  interval: z.number().int().min(1).max(100_000).default(5),
  codec: z.enum(CODECS, { error: ({ input }) => codecFault(input) }).default('int8'),
  /** nearest: leaves out the farthest fifth. clipped: leaves nobody out, but nobody pulls harder than the others. mean: trusts everybody. */
  rule: z.enum(RULES).default('nearest'),
  /** Turns a peer may be behind at its start, or after its machine slept, before it fetches a replica instead of going on with its own. */
  catchUpTurns: z.number().int().min(1).max(1_000_000).default(20),
})

/** Checked options of the strategy. */
export type GossipOptions = z.output<typeof gossipOptionsSchema>
