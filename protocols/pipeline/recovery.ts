/**
 * What becomes of a stage that nobody holds any more: CheckFree and CheckFree+ (arXiv 2506.15461, sections 4.2 and 4.3) and the rules that they are
 * compared with. Pure rules: which stages to fetch and how to combine them. They ask for stages that are alike (`StageCut.alike`), except 'random' and 'checkpoint'.
 *
 *     W_i <- (w_{i-1} W_{i-1} + w_{i+1} W_{i+1}) / (w_{i-1} + w_{i+1}),   w_k = ||last gradient of stage k||
 *     rate_i <- 1.1 x base rate;   the optimizer starts afresh
 *
 * More weight goes to the neighbour that still learns more. Nothing is kept for it while all is well but one number per stage.
 *
 * Deviations:
 * - Algorithm 1 prints the weight of the right neighbour as w_{i-1}; it is w_{i+1}, as in the paper's text and the authors' code.
 * - w is the norm, not its square. The paper can be read either way; the authors' code does not square.
 * - The authors' code takes the norms after clipping to 1 and adds 1e-4. Stages with larger gradients then all weigh the same, which is not what the paper argues
 *   for: the default is the norm before clipping, 'after-clip' is theirs. Below 1 the two differ by the 1e-4.
 * - The first and the last stage have one neighbour: plain CheckFree leaves them out, CheckFree+ copies the stage that they are swapped with. Without swapping we copy too
 *   and call it degraded. Adjacent stages that are lost together, which both leave out, are rebuilt from the nearest stages that live.
 */
import type { Kernels } from '../../kernels/index.ts'
import { StarlingError } from '../errors.ts'
import type { StageOrigin } from '../events.ts'

export const recoveryRules = ['checkfree', 'copy', 'uniform', 'random', 'checkpoint'] as const

/**
 * How a lost stage is rebuilt: weighted average of its neighbours, copy of the one before it, plain average, the run's start again, or everybody's last checkpoint.
 */
export type RecoveryRule = (typeof recoveryRules)[number]

export const normKinds = ['before-clip', 'after-clip'] as const

/** Which gradient norms weigh the neighbours. */
export type NormKind = (typeof normKinds)[number]

/** What a peer knows when it is about to rebuild a stage. */
export interface RecoveryState {
  /** Stages of the model, S; they are numbered 1 to S. */
  stages: number
  lost: number
  /** Stages from which somebody can give a copy now, in any order. `lost` itself does not count. */
  alive: Iterable<number>
  rule: RecoveryRule
  /** Whether half of the microbatches go through the first two and the last two stages swapped (CheckFree+). */
  twins?: boolean
  /** Norm of the last gradient of a stage that its optimizer took, before clipping. Undefined where none is known. */
  norm(stage: number): number | undefined
  /** Default 'before-clip'. */
  norms?: NormKind
  /** Factor of the base learning rate of a rebuilt stage. Default 1.1. */
  rateAfterRecovery?: number
}

/** How to rebuild a stage. */
export interface RecoveryPlan {
  /** What to fetch, in rising order: at most two stages. Weights are above 0 and sum to 1. None: nothing is fetched from neighbours. */
  sources: readonly { stage: number; weight: number }[]
  how: Extract<StageOrigin, 'average' | 'uniform' | 'twin' | 'neighbour' | 'random' | 'checkpoint'>
  /** The rule could not be kept for want of a stage that it asks for; what is planned is the nearest that can be had. */
  degraded: boolean
  /**
   * Factor of the base learning rate from now on: the same after one recovery and after ten, whatever factors the sources had. It belongs to the stage and goes with it
   * to replicas. The optimizer's moments are 0 and its count of steps begins anew; the place in the schedule of rates stays. A checkpoint brings its own moments.
   */
  rate: number
}

/** The norm to which the authors' code clips before it measures, and what it adds. */
const CLIP = 1
const FLOOR = 1e-4

/**
 * What to fetch from whom for a lost stage.
 *
 * - checkfree, uniform: both neighbours. With `twins`, stages 1, 2, S-1 and S (S at least 4) are copies of the stage they are swapped with instead.
 * - copy: the stage before. random, checkpoint: none.
 *
 * Where a stage that the rule asks for does not live, the nearest living stages on each side are averaged in the same way; with none on one side, the nearest on the other
 * side is copied; with none at all, the run's start is taken again. Each of these is degraded. `copy` takes the nearest living stage before, else after.
 *
 * Norms that are missing, negative or not finite, or that sum to 0, weigh nothing: both sides count the same, and `how` says 'uniform'. A neighbour whose norm is 0 beside
 * one that is not would weigh 0 and is not fetched.
 *
 * @throws StarlingError 'bad-stage' when `lost` is not a whole number from 1 to `stages`.
 */
export function planRecovery(state: RecoveryState): RecoveryPlan {
  const { stages, lost, rule, rateAfterRecovery: rate = 1.1 } = state
  if (!Number.isInteger(lost) || lost < 1 || lost > stages) {
    throw new StarlingError('bad-stage', `a stage is a whole number from 1 to ${stages}, not ${lost}`, { lost, stages })
  }
  if (rule === 'checkpoint') return { sources: [], how: 'checkpoint', degraded: false, rate: 1 }
  if (rule === 'random') return { sources: [], how: 'random', degraded: false, rate }

  const alive = [...new Set(state.alive)].filter((stage) => stage >= 1 && stage <= stages).sort((a, b) => a - b)
  const before = alive.findLast((stage) => stage < lost)
  const after = alive.find((stage) => stage > lost)
  const copy = (stage: number, how: 'twin' | 'neighbour', degraded: boolean): RecoveryPlan => ({
    sources: [{ stage, weight: 1 }],
    how,
    degraded,
    rate,
  })

  const nearest = before ?? after
  if (nearest === undefined) return { sources: [], how: 'random', degraded: true, rate }
  if (rule === 'copy') return copy(nearest, 'neighbour', nearest !== lost - 1)

  const twin = state.twins === true ? twinOf(lost, stages) : undefined
  if (twin !== undefined && alive.includes(twin)) return copy(twin, 'twin', false)
  if (before === undefined || after === undefined) return copy(nearest, 'neighbour', true)

  const share = rule === 'checkfree' ? shareOfSecond(weightOf(state, before), weightOf(state, after)) : undefined
  const sources = [
    { stage: before, weight: 1 - (share ?? 0.5) },
    { stage: after, weight: share ?? 0.5 },
  ].filter(({ weight }) => weight > 0)
  const degraded = twin !== undefined || before !== lost - 1 || after !== lost + 1
  return { sources, how: share === undefined ? 'uniform' : 'average', degraded, rate }
}

/** The stage with which a stage is swapped in every other microbatch of CheckFree+: 1 with 2, S-1 with S. Undefined for all others, and below four stages. */
export function twinOf(stage: number, stages: number): number | undefined {
  if (stages < 4) return undefined
  if (stage <= 2) return 3 - stage
  return stage >= stages - 1 ? 2 * stages - 1 - stage : undefined
}

/** What a neighbour counts before both are brought to a sum of 1; undefined when its norm says nothing. */
function weightOf({ norm, norms = 'before-clip' }: RecoveryState, stage: number): number | undefined {
  const value = norm(stage)
  if (value === undefined || !Number.isFinite(value) || value < 0) return undefined
  return norms === 'after-clip' ? Math.min(value, CLIP) + FLOOR : value
}

/** Share of the second of two weights in [0, 1]; undefined where they say nothing. */
function shareOfSecond(first: number | undefined, second: number | undefined): number | undefined {
  if (first === undefined || second === undefined) return undefined
  const share = second / (first + second)
  // Both 0, or so large that their sum is infinite.
  return Number.isFinite(first + second) && Number.isFinite(share) ? share : undefined
}

/**
 * place <- (1 - weight) place + weight other: `place` holds the first source of a plan, `other` the second, `weight` is the second's. In place and without memory of its
 * own; `other` is overwritten. Element by element, so it may be done slice by slice as the second source arrives.
 *
 * Computed as place + weight (other - place): of equal stages exactly what they are, and all replicas that are rebuilt from the same two stages get the same bits.
 */
export function averageInto(kernels: Kernels, place: Float32Array, other: Float32Array, weight: number): void {
  kernels.axpy(other, -1, place)
  kernels.axpy(place, weight, other)
}
