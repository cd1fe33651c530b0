/** What NoLoCo peers say to each other, beside heartbeats and bulk transfer. Every question is answered at once or within {@link PARK}. */
import { z } from 'zod'
import type { Swarm } from '../ports.ts'
import { blobReferenceSchema } from '../transfer/index.ts'
import { defineMessage } from '../wire/index.ts'

/** Methods of {@link import('../ports.ts').Transport.ask}. */
export const METHODS = {
  /** Initiator to responder: let us exchange in this round; this is my tensor. */
  propose: 'noloco-propose',
  /** Responder to initiator: I am in this round and wait for your proposal. */
  ready: 'noloco-ready',
  /** Initiator to responder: I have your tensor, checked and on disk; decide. May be asked again until answered. */
  commit: 'noloco-commit',
  /** Restarted responder to initiator: what did you do about this exchange? */
  outcome: 'noloco-outcome',
} as const

/** What an exchange needs of a swarm. Whoever holds several things to exchange gives each a swarm with methods of its own names. */
export type ExchangeSwarm = Pick<Swarm, 'self' | 'run' | 'clock' | 'members' | 'ask' | 'answer' | 'penalize'>

const count = z
  .number()
  .int()
  .min(0)
  .max(2 ** 48)
const id = z.string().regex(/^[0-9a-f]{32}$/, 'must be 32 hexadecimal digits')
const view = z.string().regex(/^[0-9a-f]{16}$/, 'must be 16 hexadecimal digits')

/** How far away the other's tensor may be to count whole, root mean square over the values; see reach.ts. */
const reach = z.number().min(0)

export const proposal = defineMessage(
  'noloco-proposal',
  z.strictObject({ id, round: count, step: count, view, reach, ...blobReferenceSchema.shape }),
  { maxBytes: 512 },
)

/**
 * accepted: here is mine. later: not in that round yet. ahead: past it, in `round`. mismatch: my partner in that round is another peer,
 * because I see other members.
 */
export const proposalAnswer = defineMessage(
  'noloco-proposal-answer',
  z.discriminatedUnion('status', [
    z.strictObject({ status: z.literal('accepted'), step: count, reach, ...blobReferenceSchema.shape }),
    z.strictObject({ status: z.literal('later') }),
    z.strictObject({ status: z.literal('ahead'), round: count }),
    z.strictObject({ status: z.literal('mismatch'), view }),
  ]),
  { maxBytes: 512 },
)

export const readyQuestion = defineMessage('noloco-ready', z.strictObject({ round: count }), { maxBytes: 64 })

/** As in {@link proposalAnswer}; 'coming' also when the round's proposal is on its way. */
export const readyAnswer = defineMessage(
  'noloco-ready-answer',
  z.discriminatedUnion('status', [
    z.strictObject({ status: z.literal('coming') }),
    z.strictObject({ status: z.literal('ahead'), round: count }),
    z.strictObject({ status: z.literal('mismatch'), view }),
  ]),
  { maxBytes: 128 },
)

/** Names one exchange, for `commit` and `outcome`. */
export const exchangeQuestion = defineMessage('noloco-exchange', z.strictObject({ id }), { maxBytes: 128 })

/** pending: not decided yet, ask again. unknown: never heard of it. */
export const outcomeAnswer = defineMessage(
  'noloco-outcome',
  z.strictObject({ outcome: z.enum(['committed', 'aborted', 'pending', 'unknown']) }),
  { maxBytes: 64 },
)

/** Longest time a question is kept waiting for this peer to be able to answer it, ms. Well below {@link QUESTION_TIMEOUT}. */
export const PARK = 2_000

/** Whole time for one short question, ms: parking and two slow round trips. */
export const QUESTION_TIMEOUT = 6_000
