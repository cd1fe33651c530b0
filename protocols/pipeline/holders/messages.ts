/** What the peers of a pipeline say about who holds what: a statement of each by gossip, and the questions of those who take a part over. */
import { z } from 'zod'
import { blobReferenceSchema } from '../../transfer/index.ts'
import { defineMessage } from '../../wire/index.ts'
import { MAX_PLACES, MAX_STAGES } from '../options.ts'

/** Topic of the statements. */
export const STAGES_TOPIC = 'stages'

/** Methods of {@link import('../../ports.ts').Transport.ask}. */
export const METHODS = {
  /** Are you there, and does what you hold work? */
  alive: 'pipeline-alive',
  /** Give me a copy of a part that you hold. */
  copy: 'pipeline-copy',
  /** I have the copy, or want it no more. */
  copied: 'pipeline-copied',
  /** I am to take over this stage of yours: give it up, and give me all of it. */
  handOver: 'pipeline-hand-over',
  /** I have taken it over, or failed to. */
  handedOver: 'pipeline-handed-over',
  /** I want to leave this part to you: do you stay? */
  leave: 'pipeline-leave',
  /** Data peer to keeper: fetch these ends and keep them. */
  keep: 'pipeline-keep',
  /** Fetch this checkpoint of my part and keep it (`recovery: checkpoint`). */
  checkpoint: 'pipeline-checkpoint',
  /** Give me the checkpoint of a part that you keep. */
  fetchCheckpoint: 'pipeline-fetch-checkpoint',
} as const

/** Whole time for a question that is answered at once, ms. */
export const QUICK_TIMEOUT = 1_000

/** Most parts of holders that one data peer says it cannot use; the latest ones. */
export const MAX_LOST = 16

/** Most copies of checkpoints: two of each own part, and of the parts before those. */
export const MAX_COPIES = 4 * (MAX_PLACES + 1)

/** Longest interval that is believed, ms. */
export const MAX_INTERVAL = 60_000

const count = z
  .number()
  .int()
  .min(0)
  .max(2 ** 48)
const peer = z.string().min(1).max(128)
const part = z.number().int().min(0).max(MAX_STAGES)
const norm = z.number().min(0).max(1e30)

export const HOLD_STATES = ['taking', 'ready', 'leaving'] as const

/** taking: on its way to this peer. ready: can be used. leaving: not any more, it goes to another peer. */
export type HoldState = (typeof HOLD_STATES)[number]

const ORIGINS = [
  'initial',
  'own',
  'replica',
  'moved',
  'average',
  'uniform',
  'twin',
  'neighbour',
  'random',
  'checkpoint',
] as const

const hold = z.strictObject({
  /** Stage, or 0 for the ends. */
  part,
  state: z.enum(HOLD_STATES),
  /** Steps of the run that it has gone through. */
  step: count,
  /** Norm of its last gradient. */
  norm: norm.optional(),
  /** Where it came from, once it is ready. */
  origin: z.enum(ORIGINS).optional(),
})

/** A part that a peer holds or is about to. */
export type Hold = {
  part: number
  state: HoldState
  step: number
  norm?: number
  origin?: (typeof ORIGINS)[number]
}

/** What a peer says of itself. */
export interface Statement {
  /** Number of this process of the peer, and of the statement among those of the process, from 1. */
  incarnation: number
  sequence: number
  /** The next one follows within so many ms. */
  interval: number
  holds: Hold[]
  /** Stages that it has room for, those that it holds included. */
  places: number
  /** Microbatches that it keeps for each stage at most. */
  slots: number
  /** Time of a row's forward and backward pass in one stage, as measured. */
  msPerRow?: number
  /** As a data peer: holders that it cannot use. */
  lost: { part: number; peer: string }[]
  /** Step of the ends of which it keeps a copy. */
  keeps?: number
  /** With `recovery: checkpoint`: how often the run was set back, to which step the last time, and of which parts and steps it has copies. */
  back: { epoch: number; step: number }
  copies: { part: number; step: number }[]
  /** As a data peer: the run's steps are done, and it has put the whole model together. */
  finished: boolean
  /** Parts that it has from an earlier process, not in use. */
  kept: { part: number; step: number }[]
}

/** See {@link Statement}. About 100 bytes and 50 for each stage. */
export const statementMessage = defineMessage<Statement>(
  'pipeline-statement',
  // zod types an absent key as `T | undefined`; the codec leaves such keys out and never decodes an undefined.
  z.strictObject({
    incarnation: count,
    sequence: count.min(1),
    interval: z.number().int().min(1).max(MAX_INTERVAL),
    holds: z.array(hold).max(MAX_PLACES + 1),
    places: z.number().int().min(0).max(MAX_PLACES),
    slots: z.number().int().min(0).max(1024),
    msPerRow: z.number().min(0).max(1e9).optional(),
    lost: z.array(z.strictObject({ part, peer })).max(MAX_LOST),
    keeps: count.optional(),
    back: z.strictObject({ epoch: count, step: count }),
    copies: z.array(z.strictObject({ part, step: count })).max(MAX_COPIES),
    finished: z.boolean(),
    kept: z.array(z.strictObject({ part, step: count })).max(MAX_PLACES + 1),
  }) as unknown as z.ZodType<Statement>,
  { maxBytes: 8 * 1024, maxDepth: 4, maxItems: 512 },
)

/** Part that is asked about; without one the peer itself. */
export const aliveQuestion = defineMessage('pipeline-alive', z.strictObject({ part: part.optional() }), {
  maxBytes: 32,
})

/** `holds`: it holds that part ready, and the thread in which it lives answers. */
export const aliveAnswer = defineMessage(
  'pipeline-alive-answer',
  z.strictObject({ incarnation: count, holds: z.boolean() }),
  { maxBytes: 64 },
)

export const copyQuestion = defineMessage('pipeline-copy', z.strictObject({ part }), { maxBytes: 32 })

/** What goes with parameters wherever they go. */
const course = { step: count, rate: z.number().min(0).max(1e6), norm: norm.optional() }

export const copyAnswer = defineMessage(
  'pipeline-copy-answer',
  z.strictObject({ ...course, applied: count, ...blobReferenceSchema.shape }),
  { maxBytes: 256 },
)

export const checkpointQuestion = defineMessage(
  'pipeline-checkpoint',
  z.strictObject({ part, ...course, applied: count, ...blobReferenceSchema.shape }),
  { maxBytes: 256 },
)

export const fetchCheckpointQuestion = defineMessage(
  'pipeline-fetch-checkpoint',
  z.strictObject({ part, step: count }),
  { maxBytes: 64 },
)

/** Names one copy or one move. */
export const rootQuestion = defineMessage('pipeline-root', z.strictObject({ root: blobReferenceSchema.shape.root }), {
  maxBytes: 128,
})

export const handOverQuestion = defineMessage('pipeline-hand-over', z.strictObject({ stage: part.min(1) }), {
  maxBytes: 32,
})

/** Parameters, then each of the optimizer's vectors, apart. */
export const handOverAnswer = defineMessage(
  'pipeline-hand-over-answer',
  z.strictObject({
    ...course,
    applied: count,
    vectors: z.array(z.strictObject(blobReferenceSchema.shape)).min(1).max(8),
  }),
  { maxBytes: 1024 },
)

export const handedOverQuestion = defineMessage(
  'pipeline-handed-over',
  z.strictObject({ stage: part.min(1), taken: z.boolean() }),
  { maxBytes: 64 },
)

export const leaveQuestion = defineMessage('pipeline-leave', z.strictObject({ part }), { maxBytes: 32 })
export const leaveAnswer = defineMessage('pipeline-leave-answer', z.strictObject({ stays: z.boolean() }), {
  maxBytes: 32,
})

export const keepQuestion = defineMessage(
  'pipeline-keep',
  z.strictObject({ step: count, rate: course.rate, ...blobReferenceSchema.shape }),
  { maxBytes: 256 },
)
