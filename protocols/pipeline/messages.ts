/** What the peers of a pipeline say to each other about microbatches and steps. Who holds what is said in protocols/pipeline/holders. */
import { z } from 'zod'
import type { PeerName } from '../ports.ts'
import { defineMessage } from '../wire/index.ts'
import { MAX_MICROBATCHES, MAX_STAGES } from './options.ts'

/** Methods of {@link import('../ports.ts').Transport.ask}. */
export const METHODS = {
  /** Here is what left the part before yours: take it, work on it, and hand it on. Answered when it is there, before any work. */
  forward: 'pipeline-forward',
  /** Here is the gradient at what you handed on. Answered alike. */
  backward: 'pipeline-backward',
  /** A piece of a tensor that was too large for the question that announced it. */
  tensor: 'pipeline-tensor',
  /** To the data peer: I could not hand your microbatch on. */
  failed: 'pipeline-failed',
  /** From the data peer: what became of this microbatch? */
  where: 'pipeline-where',
  /** From the data peer: do you have all of this step; and then: take the optimizer step. */
  commit: 'pipeline-commit',
} as const

/** Longest encoded tensor that rides in the question itself, bytes; longer ones are pulled. */
export const MAX_INLINE = 96 * 1024

/** Bytes of a piece of a tensor that is pulled; only the last one is shorter. */
export const PIECE_BYTES = 1024 * 1024

/** Longest encoded tensor, bytes: 256 pieces. */
export const MAX_TENSOR_BYTES = 256 * PIECE_BYTES

/** Largest power of two by which a tensor is scaled for its code. */
export const MAX_EXPONENT = 100

/** Why a holder cannot be used: its connection broke, it does not answer, or it says no. */
export const LOSS_REASONS = ['disconnected', 'silent', 'refused'] as const

const count = z
  .number()
  .int()
  .min(0)
  .max(2 ** 48)
const peer = z.string().min(1).max(128)
const stage = z.number().int().min(1).max(MAX_STAGES)
/** Names one pass of one microbatch; the data peer is the author of the question, or said beside it. */
const pass = {
  /** Drawn by the data peer at its start, so that what an earlier process of it began is not mixed up with this. */
  session: count,
  /** How many times the run was set back to a checkpoint. */
  epoch: count,
  /** Whether a backward pass follows. Passes without one are numbered on their own, in step 0. */
  keep: z.boolean(),
  step: count,
  attempt: count,
  /** Number of the microbatch in its step, or of the pass without a step. */
  microbatch: count,
}

const passSchema = z.strictObject({ origin: peer, ...pass })

/** Which pass of which data peer. */
export type PassId = z.output<typeof passSchema>

/** The fields of a pass and nothing else, for a message to a peer other than its data peer. */
export const passOf = ({ origin, session, epoch, keep, step, attempt, microbatch }: PassId): PassId => ({
  origin,
  session,
  epoch,
  keep,
  step,
  attempt,
  microbatch,
})

/** Names a pass in maps; `hop` where a peer may meet it several times. */
export const keyOf = ({ origin, session, keep, step, attempt, microbatch }: PassId, hop?: number): string =>
  `${origin} ${session} ${keep ? step : 'forward'} ${attempt} ${microbatch}${hop === undefined ? '' : ` ${hop}`}`

/** What is said of a tensor that is handed over. */
const tensor = {
  rows: z.number().int().min(1).max(1_000_000),
  /** Encoded length, bytes. */
  size: z.number().int().min(1).max(MAX_TENSOR_BYTES),
  /** The values were multiplied by 2^exponent before they were encoded. */
  exponent: z.number().int().min(-MAX_EXPONENT).max(MAX_EXPONENT),
  /** The encoded tensor, where it is short. */
  bytes: z.instanceof(Uint8Array).optional(),
}

/** What {@link forwardQuestion} and {@link backwardQuestion} say of their tensor. */
export interface TensorHead {
  rows: number
  size: number
  exponent: number
  bytes?: Uint8Array<ArrayBuffer> | undefined
}

/** A path as two lists, hop by hop. */
const path = {
  stages: z.array(stage).min(1).max(MAX_STAGES),
  peers: z.array(peer).min(1).max(MAX_STAGES),
}

/** `hop`: of the peer that is asked; the path's length is the data peer. */
export const forwardQuestion = defineMessage(
  'pipeline-forward',
  z.strictObject({ ...passSchema.shape, ...path, hop: z.number().int().min(0).max(MAX_STAGES), ...tensor }),
  { maxBytes: MAX_INLINE + 14 * 1024, maxItems: 512 },
)
export type ForwardQuestion = PassId & TensorHead & { stages: number[]; peers: PeerName[]; hop: number }

const hop = z.number().int().min(-1).max(MAX_STAGES)

/** `hop`: of the peer that is asked; -1 is the data peer. */
export const backwardQuestion = defineMessage(
  'pipeline-backward',
  z.strictObject({ ...passSchema.shape, hop, ...tensor }),
  { maxBytes: MAX_INLINE + 2 * 1024, maxItems: 64 },
)
export type BackwardQuestion = PassId & TensorHead & { hop: number }

/** `hop`: of the peer that asks for the piece that begins at byte `at`, in the sense of the question that it was asked. */
export const tensorQuestion = defineMessage(
  'pipeline-tensor',
  z.strictObject({
    ...passSchema.shape,
    hop,
    backward: z.boolean(),
    at: z.number().int().min(0).max(MAX_TENSOR_BYTES),
  }),
  { maxBytes: 512, maxItems: 64 },
)

/** `hop`: of the peer that did not take it, or gave what cannot be used. */
export const failedQuestion = defineMessage(
  'pipeline-failed',
  z.strictObject({ ...pass, hop, reason: z.enum(LOSS_REASONS), code: z.string().max(64) }),
  { maxBytes: 512, maxItems: 64 },
)

export const whereQuestion = defineMessage('pipeline-where', z.strictObject({ ...pass, hop }), {
  maxBytes: 256,
  maxItems: 64,
})

/** none: never heard of it, or dropped. forward, backward: at work on it, or handing it on. passed: the next one has it. done: the one before has its gradient. */
export const whereAnswer = defineMessage(
  'pipeline-where-answer',
  z.strictObject({ state: z.enum(['none', 'forward', 'passed', 'backward', 'done']) }),
  { maxBytes: 64 },
)
export type VisitState = 'forward' | 'passed' | 'backward' | 'done'

export const commitQuestion = defineMessage(
  'pipeline-commit',
  z.strictObject({
    session: count,
    epoch: count,
    step: count,
    attempt: count,
    stage,
    /** check: is this what you have summed? apply: take the optimizer step. */
    phase: z.enum(['check', 'apply']),
    /** Rising. */
    microbatches: z
      .array(
        z
          .number()
          .int()
          .min(0)
          .max(MAX_MICROBATCHES - 1),
      )
      .min(1)
      .max(MAX_MICROBATCHES),
  }),
  { maxBytes: 2048, maxItems: 512 },
)
export type CommitQuestion = ReturnType<typeof commitQuestion.decode>

/** Norm of the stage's gradient before clipping; not in the answer to a check. */
export const commitAnswer = defineMessage(
  'pipeline-commit-answer',
  z.strictObject({ gradientNorm: z.number().min(0).optional() }),
  { maxBytes: 64 },
)
