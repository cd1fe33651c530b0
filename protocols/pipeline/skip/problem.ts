/**
 * What a plan of partial paths is made from, and the plan: SkipPipe, arXiv 2502.19913. Plain data; machines are numbers here, stages run from 1,
 * times are seconds.
 *
 * In the paper stage 0 (the first layers, embedding, head and loss) lies at the machines with data and begins every path. Here the ends alone lie at a
 * data peer, and stage 1 is the first of the layers; so that the model's first layers are still never left out, paths begin with the
 * first `fixed` stages. With `fixed: 0`, and layers at the data peers, it is the paper's arrangement.
 */

/** Backward pass of a stage, in forward passes; as in the authors' cost model. */
export const BACKWARD = 1.5

/** Most moves back by one stage in a path (CC3). */
export const MAX_SWAPS = 2

/** Farthest that a path goes beyond the foremost stage it has been to (CC3): three stages are left out in a row at most. */
export const MAX_JUMP = 4

/** One machine: what it takes for a microbatch. */
export interface Machine {
  /** Forward pass of one stage. */
  forward: number
  /** As a data peer: embedding, whose backward pass takes {@link BACKWARD} times as long; and head, loss and their gradients. */
  embed: number
  loss: number
  /** Microbatches that it keeps between their forward and backward passes, for each stage that it holds; as a data peer, its own under way. */
  slots: number
}

/** The microbatches of an iteration: number m of a data peer takes its path m mod `paths`, and begins no sooner than floor(m / paths) · every after that path's start. */
export interface Release {
  /** Of each data peer in an iteration. */
  microbatches: number
  every: number
}

/** A pipeline to be planned. */
export interface SkipProblem {
  machines: readonly Machine[]
  /** Seconds from machine to machine for the activations of a microbatch, or their gradient: transfer[from][to]. */
  transfer: readonly (readonly number[])[]
  /** Seconds after each task in which a machine does nothing. */
  pause: number
  /** The data peers. */
  origins: readonly number[]
  /** Machines that hold each stage: those of stage 1 first. A stage that nobody holds is left out of all paths. */
  holders: readonly (readonly number[])[]
  /** Leading stages that every path begins with, in order: 0 or 1. */
  fixed: number
  /** Stages of every path, the fixed ones included: K. */
  keep: number
  /** Paths of each data peer: microbatches under way at once. */
  paths: number
  /** Iterations with paths of their own, gone through in turn. {@link evenRounds} of them let every stage be visited equally often. */
  rounds: number
  /** Visits of a stage that may be missing or too many in a round: 0, and 1 in a plan that goes around a stage which was just lost. */
  slack: number
  release: Release
}

/** One stop of a path. */
export interface SkipHop {
  stage: number
  machine: number
}

/** The way of a microbatch from its data peer through some stages and back. */
export interface SkipPath {
  origin: number
  /** Seconds from the beginning of an iteration before which no microbatch sets out on it. */
  start: number
  hops: readonly SkipHop[]
}

/** Paths for all data peers. Within a round, first those of the first data peer, then those of the next. */
export interface SkipPlan {
  rounds: readonly (readonly SkipPath[])[]
  /** Simulated time of an iteration, mean over the rounds. */
  seconds: number
}

/** Most rounds of a plan, and hops of all its paths; where more would be needed there is one round, and some stages are visited once more than others. */
export const MAX_ROUNDS = 8
const MAX_HOPS = 6000

/** Stages that somebody holds and that may be left out, in order. */
export function skippable({ holders, fixed }: Pick<SkipProblem, 'holders' | 'fixed'>): number[] {
  return holders.flatMap((machines, i) => (i >= fixed && machines.length > 0 ? [i + 1] : []))
}

/** What is wrong with the number of stages kept of so many, or undefined: for options, before there is a plan. */
export function keepFault(stages: number, keep: number, fixed = 1): string | undefined {
  const left = stages - fixed
  const least = fixed + Math.max(1, Math.ceil(left / MAX_JUMP))
  return keep === stages || (keep >= least && keep < stages)
    ? undefined
    : `must be from ${Math.min(least, stages)} to the number of stages, ${stages}, not ${keep}`
}

/** The least number of rounds over which stages can be left out evenly, or 1 where that is too many. */
export function evenRounds(problem: Omit<SkipProblem, 'rounds' | 'slack'>): number {
  const stages = skippable(problem).length
  const visits = visitsOfRound(problem)
  const rounds = stages / commonDivisor(stages, visits)
  const hops = rounds * problem.origins.length * problem.paths * problem.keep
  return rounds <= MAX_ROUNDS && hops <= MAX_HOPS ? rounds : 1
}

/** Visits that a stage which may be left out gets in one round, and over all: at least and at most (CC2). */
export function visitsOf(problem: SkipProblem): { round: [number, number]; all: [number, number] } {
  const stages = skippable(problem).length
  const visits = visitsOfRound(problem)
  const range = (rounds: number): [number, number] => {
    const slack = rounds * problem.slack
    const most = rounds * problem.origins.length * problem.paths
    const [least, enough] = [Math.floor((visits * rounds) / stages), Math.ceil((visits * rounds) / stages)]
    return [Math.max(0, least - slack), Math.min(most, enough + slack)]
  }
  return { round: range(1), all: range(problem.rounds) }
}

const visitsOfRound = ({ origins, paths, keep, fixed }: Omit<SkipProblem, 'rounds' | 'slack'>): number =>
  origins.length * paths * (keep - fixed)

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b)
}
