/** Which constants of the outer step are stable, and the options of the strategy, checked against that. */
import { z } from 'zod'
import { CODEC_NAMES } from '../codecs/index.ts'
import { sendingFault } from '../feedback/index.ts'

/** Constants of the outer step. */
export interface OuterConstants {
  /** Momentum of the outer step. */
  alpha: number
  /** Outer learning rate: how much of the local progress is taken. */
  beta: number
  /** Pull towards the partner's slow weights. */
  gamma: number
}

/**
 * Largest gamma (not included) for which replicas without gradients come to agree in the mean square, from random groups of `groupSize` out
 * of `replicas`:
 *
 *     gamma < 2 (1 - alpha²) / (1 + alpha - 2 alpha q),   q = (n - 1)/n · N/(N - 1)
 *
 * It follows from the recursion of the second moments of (phi - mean, delta - mean) and replaces equation 74 of the paper, whose interval
 * is wrong away from alpha = 0.5 (at alpha = 0.9 all of it is unstable). The bound falls with the number of replicas; for pairs and any
 * number of them it is 2 (1 - alpha²).
 */
export function consensusBound(alpha: number, options: { groupSize?: number; replicas?: number } = {}): number {
  const n = options.groupSize ?? 2
  const count = options.replicas ?? Number.POSITIVE_INFINITY
  const spread = count === Number.POSITIVE_INFINITY ? 1 : count / (count - 1)
  const q = ((n - 1) / n) * spread
  return (2 * (1 - alpha * alpha)) / (1 + alpha - 2 * alpha * q)
}

/**
 * Largest beta (not included) for which the mean of the replicas is stable: 0 < beta (1 - bᵐ) < 2 (1 + alpha) with b in (0, 1) the
 * contraction of one inner step, so that 2 (1 + alpha) holds for every curvature and every number of inner steps.
 */
export function meanBound(alpha: number): number {
  return 2 * (1 + alpha)
}

const number = (value: number): string => String(Number(value.toPrecision(6)))

/**
 * What makes the constants unstable for some number of replicas, or undefined. The sentence names the bound. For all numbers of replicas
 * at once, because peers come and go and the bound is lowest for many.
 */
export function stabilityFault(constants: OuterConstants): { key: keyof OuterConstants; message: string } | undefined {
  const { alpha, beta, gamma } = constants
  if (!(alpha >= 0 && alpha < 1)) {
    return { key: 'alpha', message: `must be at least 0 and below 1, not ${number(alpha)}` }
  }
  const most = meanBound(alpha)
  if (!(beta > 0 && beta < most)) {
    return {
      key: 'beta',
      message: `must be above 0 and below 2(1 + alpha) = ${number(most)} to be stable, not ${number(beta)}`,
    }
  }
  const bound = consensusBound(alpha)
  if (!(gamma > 0 && gamma < bound)) {
    const what = `must be above 0 and below 2(1 - alpha²) = ${number(bound)}, or replicas drift apart; it is ${number(gamma)}`
    return { key: 'gamma', message: what }
  }
  return undefined
}

/** Codes in which a tensor may travel: those that pairs can average models through. To round at random gains nothing, for the errors cancel over a pair. */
const CODECS = ['int8', 'float16', 'float32'] as const

/** What is wrong with a code that is known, but not for this strategy; where undefined, the schema's own words are used. */
function codecFault(input: unknown): string | undefined {
  const known = CODEC_NAMES.find((name) => name === input)
  const fault = known === undefined ? undefined : sendingFault('pair-gossip', { codec: known, memory: 'none' })
  return fault === undefined ? undefined : `must be ${CODECS.map((name) => `"${name}"`).join(' or ')}: ${fault}`
}

/**
 * The part `strategy` of a run with `name: noloco`. Defaults are the paper's alpha 0.5 and beta 0.7 and its code's gamma = beta;
 * 20 inner steps instead of its 50, because runs here have a thousand steps where it had 25,000, and replicas that meet oftener gain more. Constants outside the exact bounds are refused with the bound in the message.
 */
export const nolocoOptionsSchema = z
  .strictObject({
    /** Local optimizer steps between two exchanges. */
    innerSteps: z.number().int().min(1).max(100_000).default(20),
    alpha: z.number().default(0.5),
    beta: z.number().default(0.7),
    /** Default: beta. */
    gamma: z.number().optional(),
    codec: z.enum(CODECS, { error: ({ input }) => codecFault(input) }).default('int8'),
    /** Longest wait for a partner that is still training, seconds. The wait is shorter when rounds are short (see docs/noloco.md). */
    partnerTimeout: z.number().min(0.1).max(3600).default(20),
    /** Rounds a peer may be behind at its start before it fetches a replica instead of going on from its checkpoint. */
    catchUpRounds: z.number().int().min(1).max(1_000_000).default(4),
    /** Keep every round on disk before it is committed, so that a killed peer loses no exchange. */
    durableRounds: z.boolean().default(true),
  })
  .superRefine((options, context) => {
    const fault = stabilityFault(constantsOf(options))
    if (fault !== undefined) {
      // Where gamma is not given it is beta that the user must change.
      const key = fault.key === 'gamma' && options.gamma === undefined ? 'beta' : fault.key
      const message = key === fault.key ? fault.message : `(which gamma follows) ${fault.message}`
      context.addIssue({ code: 'custom', path: [key], message, input: options[key] })
    }
  })

/** Checked options of the strategy. */
export type NolocoOptions = z.output<typeof nolocoOptionsSchema>

/** The constants of the outer step, gamma filled in. */
export function constantsOf(options: { alpha: number; beta: number; gamma?: number | undefined }): OuterConstants {
  return { alpha: options.alpha, beta: options.beta, gamma: options.gamma ?? options.beta }
}
