/** What the peers of a pipeline say to each other about microbatches and steps. Who holds what is said in protocols/pipeline/holders. */
import { z } from 'zod'
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
export const MAX_INLINE = 48 * 1024

/** Bytes of a piece of a tensor that is pulled; only the last one is shorter. */
export const PIECE_BYTES = 1024 * 1024

/** Longest encoded tensor, bytes: 256 pieces. */
export const MAX_TENSOR_BYTES = 256 * PIECE_BYTES

const count = z
  .number()
  .int()
  .min(0)
  .max(2 ** 48)
const peer = z.string().min(1).max(128)
const stage = z.number().int().min(1).max(MAX_STAGES)
const hop = z
  .number()
  .int()
  .min(0)
  .max(MAX_STAGES - 1)

/** Names one pass of one microbatch; the data peer is the author of the question, or said beside it. */
const pass = {
  /** Whether a backward pass follows. Passes without one are numbered on their own. */
  keep: z.boolean(),
  step: count,
  attempt: count,
  /** Number of the microbatch in its step, or of the pass without a step. */
  microbatch: count,
}

const passSchema = z.strictObject({ origin: peer, ...pass })

/** Which pass of which data peer. */
export type PassId = z.output<typeof passSchema>

/** What is said of a tensor that is handed over. */
const tensor = {
  rows: z.number().int().min(1).max(1_000_000),
  /** Encoded length, bytes. */
  size: z.number().int().min(1).max(MAX_TENSOR_BYTES),
  /** The values were multiplied by 2^exponent before they were encoded. */
  exponent: z.number().int().min(-256).max(256),
  /** The encoded tensor, where it is short. */
  bytes: z.instanceof(Uint8Array).optional(),
}

/** A path as two lists, hop by hop. */
const path = {
  stages: z.array(stage).min(1).max(MAX_STAGES),
  peers: z.array(peer).min(1).max(MAX_STAGES),
}

/** To the peer of hop `hop` of the path, or, where that is the path's length, to the data peer. */
export const forwardQuestion = defineMessage(
  'pipeline-forward',
  z.strictObject({ origin: peer, ...pass, ...path, hop: z.number().int().min(0).max(MAX_STAGES), ...tensor }),
  { maxBytes: 62 * 1024, maxItems: 512 },
)
export type ForwardQuestion = z.output<typeof passSchema> & {
  stages: number[]
  peers: string[]
  hop: number
} & TensorHead

/** What {@link forwardQuestion} and {@link backwardQuestion} say of their tensor. */
export interface TensorHead {
  rows: number
  size: number
  exponent: number
  bytes?: Uint8Array | undefined
}

/** To the peer of hop `hop`, or, where that is -1, to the data peer. */
export const backwardQuestion = defineMessage(
  'pipeline-backward',
  z.strictObject({
    origin: peer,
    ...pass,
    hop: z
      .number()
      .int()
      .min(-1)
      .max(MAX_STAGES - 1),
    ...tensor,
  }),
  { maxBytes: 50 * 1024, maxItems: 64 },
)
export type BackwardQuestion = PassId & { hop: number } & TensorHead

/** `hop`: of the peer that asks, in the same sense as above (-1 and the path's length are the data peer). */
export const tensorQuestion = defineMessage(
  'pipeline-tensor',
  z.strictObject({
    origin: peer,
    ...pass,
    hop: z.number().int().min(-1).max(MAX_STAGES),
    backward: z.boolean(),
    at: z.number().int().min(0).max(MAX_TENSOR_BYTES),
  }),
  { maxBytes: 512, maxItems: 64 },
)

/** Why a microbatch could not be handed on. */
export const FAILURES = ['disconnected', 'silent', 'refused', 'broken'] as const
export type HandFailure = (typeof FAILURES)[number]

export const failedQuestion = defineMessage(
  'pipeline-failed',
  // `hop`: of the peer that did not take it.
  z.strictObject({
    ...pass,
    hop: z.number().int().min(-1).max(MAX_STAGES),
    reason: z.enum(FAILURES),
    code: z.string().max(64),
  }),
  { maxBytes: 512, maxItems: 64 },
)

export const whereQuestion = defineMessage('pipeline-where', z.strictObject({ ...pass, hop }), {
  maxBytes: 256,
  maxItems: 32,
})

/** none: never heard of it, or dropped. forward, backward: at work on it, or handing it on. passed: the next one has it. done: the one before has its gradient. */
export const whereAnswer = defineMessage(
  'pipeline-where-answer',
  z.strictObject({ state: z.enum(['none', 'forward', 'passed', 'backward', 'done']) }),
  { maxBytes: 64 },
)

export const commitQuestion = defineMessage(
  'pipeline-commit',
  z.strictObject({
    step: count,
    attempt: count,
    stage,
    /** check: is this what you have summed? apply: take the step. */
    phase: z.enum(['check', 'apply']),
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

/** Norm of the stage's gradient before clipping; without one to the phase 'check'. */
export const commitAnswer = defineMessage(
  'pipeline-commit-answer',
  z.strictObject({ gradientNorm: z.number().min(0).optional() }),
  { maxBytes: 64 },
)
