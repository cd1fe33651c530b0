/** What peers say to each other about plans. */
import { z } from 'zod'
import { defineMessage } from '../../wire/index.ts'
import { MAX_ROUNDS, type SkipPlan, type SkipProblem } from './problem.ts'

/** Methods of {@link import('../../ports.ts').Transport.ask}. */
export const METHODS = {
  /** From a data peer: shall we use this plan? */
  plan: 'pipeline-plan',
  /** From a data peer: how far are these peers from you? */
  links: 'pipeline-links',
  /** Bytes that are answered with none, to be timed. */
  probe: 'pipeline-probe',
} as const

/** Most machines in a plan: with all their delays it fits one question. */
export const MAX_MACHINES = 64

/** Most stages and paths of a plan, as the options of a run have it. */
const MAX_STAGES = 64
const MAX_PATHS = 64

/** Times travel in whole microseconds, so that everybody simulates the same numbers; at most about 18 minutes each. */
const MICROSECONDS = 1e6
const micros = z
  .number()
  .int()
  .min(0)
  .max(2 ** 30)
const peer = z.string().min(1).max(128)
const machine = z
  .number()
  .int()
  .min(0)
  .max(MAX_MACHINES - 1)
const small = (most: number) => z.number().int().min(0).max(most)

export const linksQuestion = defineMessage(
  'pipeline-links',
  z.strictObject({
    peers: z.array(peer).max(MAX_MACHINES),
    size: z
      .number()
      .int()
      .min(1)
      .max(2 ** 31),
  }),
  { maxBytes: 10 * 1024 },
)

/** Microseconds for so many bytes to each of those peers; -1 where it could not be reached. */
export const linksAnswer = defineMessage(
  'pipeline-links-answer',
  z.strictObject({
    times: z
      .array(
        z
          .number()
          .int()
          .min(-1)
          .max(2 ** 30),
      )
      .max(MAX_MACHINES),
  }),
  { maxBytes: 1024 },
)

/** A plan of one data peer with the problem that it solves. */
export const planQuestion = defineMessage(
  'pipeline-plan',
  z.strictObject({
    peers: z.array(peer).min(1).max(MAX_MACHINES),
    machines: z
      .array(z.strictObject({ forward: micros, embed: micros, loss: micros, slots: z.number().int().min(1).max(1024) }))
      .min(1)
      .max(MAX_MACHINES),
    /** Row by row. */
    transfer: z.array(micros).max(MAX_MACHINES ** 2),
    origin: machine,
    holders: z.array(z.array(machine).max(MAX_MACHINES)).min(1).max(MAX_STAGES),
    keep: z.number().int().min(1).max(MAX_STAGES),
    microbatches: z.number().int().min(1).max(1024),
    slack: small(1),
    rounds: z
      .array(
        z
          .array(
            z.strictObject({
              start: micros,
              stages: z.array(small(MAX_STAGES)).min(1).max(MAX_STAGES),
              machines: z.array(machine).min(1).max(MAX_STAGES),
            }),
          )
          .min(1)
          .max(MAX_PATHS),
      )
      .min(1)
      .max(MAX_ROUNDS),
    seconds: micros,
  }),
  { maxBytes: 62 * 1024, maxItems: 40_000 },
)

/** `reason`: one clause, where it is not accepted. */
export const planAnswer = defineMessage(
  'pipeline-plan-answer',
  z.strictObject({ accepted: z.boolean(), reason: z.string().max(200).optional() }),
  { maxBytes: 512 },
)

/** A plan, the problem that it solves, and who its machines are. */
export interface NamedPlan {
  peers: readonly string[]
  problem: SkipProblem
  plan: SkipPlan
}

const rounded = (seconds: number): number => Math.min(2 ** 30, Math.round(seconds * MICROSECONDS))

/** The number that a time is after it has travelled. */
export const travelled = (seconds: number): number => rounded(seconds) / MICROSECONDS

/** Bytes of a plan of one data peer, whose times are whole microseconds. Throws StarlingError 'bad-message' where it is too large. */
export function encodePlan({ peers, problem, plan }: NamedPlan): Uint8Array {
  return planQuestion.encode({
    peers: [...peers],
    machines: problem.machines.map(({ forward, embed, loss, slots }) => ({
      forward: rounded(forward),
      embed: rounded(embed),
      loss: rounded(loss),
      slots,
    })),
    transfer: problem.transfer.flatMap((row) => row.map(rounded)),
    origin: problem.origins[0]!,
    holders: problem.holders.map((of) => [...of]),
    keep: problem.keep,
    microbatches: problem.release.microbatches,
    slack: problem.slack,
    rounds: plan.rounds.map((paths) =>
      paths.map(({ start, hops }) => ({
        start: rounded(start),
        stages: hops.map(({ stage }) => stage),
        machines: hops.map(({ machine }) => machine),
      })),
    ),
    seconds: rounded(plan.seconds),
  })
}

/** The plan of those bytes. Throws StarlingError 'bad-message' for anything that is none; whether the plan is any good is not looked at. */
export function decodePlan(bytes: Uint8Array): NamedPlan {
  const { peers, machines, transfer, origin, holders, keep, microbatches, slack, rounds, seconds } =
    planQuestion.decode(bytes)
  const time = (value: number): number => value / MICROSECONDS
  const problem: SkipProblem = {
    machines: machines.map(({ forward, embed, loss, slots }) => ({
      forward: time(forward),
      embed: time(embed),
      loss: time(loss),
      slots,
    })),
    transfer: machines.map((_, row) => transfer.slice(row * machines.length, (row + 1) * machines.length).map(time)),
    pause: 0,
    origins: [origin],
    holders,
    fixed: 1,
    keep,
    paths: rounds[0]!.length,
    rounds: rounds.length,
    slack,
    release: { microbatches, every: 0 },
  }
  const plan: SkipPlan = {
    rounds: rounds.map((paths) =>
      paths.map(({ start, stages, machines: at }) => ({
        origin,
        start: time(start),
        hops: stages.map((stage, i) => ({ stage, machine: at[i] ?? -1 })),
      })),
    ),
    seconds: time(seconds),
  }
  return { peers, problem, plan }
}
