/**
 * Makes a plan: balanced and greedy at first, then made better by resolving the conflicts that delay the slowest microbatch most, then by local search, with the
 * simulated time of an iteration as the measure. Seeded, and bounded by work that is counted, never by the clock, so that a plan can be made again.
 *
 * The authors branch on conflicts instead (an hour for 20 machines, with cut-offs set by hand): see docs/pipeline-skip.md for what is different.
 */
import { StarlingError } from '../../errors.ts'
import { seededRandom } from '../../random.ts'
import { Changes, changed, greedyRounds, type Rounds } from './draft.ts'
import { keepFault, type SkipPath, type SkipPlan, type SkipProblem, skippable, visitsOf } from './problem.ts'
import { resolveConflicts } from './resolve.ts'
import { iteration, simulateIteration, tasksOf } from './simulate.ts'
import { roundTrip } from './timetable.ts'

export interface PlanOptions {
  /** Any words; plans with the same ones are the same. */
  seed: readonly (string | number)[]
  /** Tasks simulated and places looked at, at most about. Default {@link DEFAULT_WORK}, less for small problems. */
  work?: number
  /**
   * 'ignore': every microbatch is taken to be alone in the pipeline, and the slowest one counts: SkipPipe without TC2, which takes {@link BLIND_SHARE} of the
   * work. Default 'avoid', which begins with the plan made like that and is never worse.
   */
  collisions?: 'avoid' | 'ignore'
}

/** Most work that is done by default, some two seconds of one core, and how often a plan is simulated at most. */
export const DEFAULT_WORK = 6_000_000
const DEFAULT_SIMULATIONS = 20_000

/** Share of the work that goes into the plan without a look at collisions. */
const BLIND_SHARE = 0.15

/** Work between two moments at which {@link planSteps} lets others run: some milliseconds. */
const SLICE = 10_000

/** Weight of the mean beside the slowest microbatch: the others are worth something while the slowest one stays as it is. */
const MEAN_WEIGHT = 0.1

/** Cycles of annealing; the temperature at the beginning of one as a share of the score, and what it is multiplied by, so often: down to 28 %. */
const CYCLES = 2
const HOT = 0.003
const PLATEAUS = 42
const COOLING = 0.97

/** Says why no plan can be made of that; undefined where one can. */
export function problemFault(problem: SkipProblem): string | undefined {
  const { holders, fixed, keep, machines } = problem
  const missing = holders.findIndex((of, i) => i < fixed && of.length === 0)
  if (missing >= 0) {
    return `nobody holds stage ${missing + 1}, with which every path begins`
  }
  const stages = fixed + skippable(problem).length
  const fault = keepFault(stages, keep, fixed)
  if (fault !== undefined) {
    return `stages on a path ${fault}`
  }
  const most = visitsOf(problem).round[1]
  for (const [i, of] of holders.entries()) {
    const room = of.reduce((sum, machine) => sum + machines[machine]!.slots, 0)
    const needed = i < fixed ? problem.origins.length * problem.paths : most
    if (of.length > 0 && room < needed) {
      return `the holders of stage ${i + 1} have room for ${room} microbatches, and it gets ${needed}`
    }
  }
  return undefined
}

/** {@link planSteps}, without a pause. */
export function planSkip(problem: SkipProblem, options: PlanOptions): SkipPlan {
  const steps = planSteps(problem, options)
  for (;;) {
    const { done, value } = steps.next()
    if (done === true) {
      return value
    }
  }
}

/** Makes a plan in slices of some milliseconds, after each of which it yields. Throws StarlingError 'no-plan' where there can be none. */
export function* planSteps(problem: SkipProblem, options: PlanOptions): Generator<undefined, SkipPlan> {
  const fault = problemFault(problem)
  if (fault !== undefined) {
    throw new StarlingError('no-plan', `no plan of partial paths: ${fault}`, { reason: fault })
  }
  const { seed, collisions = 'avoid' } = options
  const { work = Math.min(DEFAULT_WORK, DEFAULT_SIMULATIONS * tasksOf(problem) * problem.rounds) } = options
  const budget = new Budget(work)
  const alone = (paths: readonly SkipPath[]): number => {
    budget.spend(paths.length * (2 * problem.keep + 3))
    return score(paths.map((path) => roundTrip(problem, path)))
  }
  const together = (paths: readonly SkipPath[]): number => {
    budget.spend(tasksOf(problem))
    return score(simulateIteration(problem, iteration(problem, paths)).finished)
  }
  const seconds = ({ best }: Found): number =>
    mean(best.map((paths) => simulateIteration(problem, iteration(problem, paths)).seconds))

  const greedy = greedyRounds(problem, () => budget.spend(1))
  const blind = yield* climb(problem, greedy, alone, budget, work * BLIND_SHARE, [...seed, 'alone'])
  if (collisions === 'ignore') {
    return { rounds: blind.best, seconds: seconds(blind) }
  }
  let found: Found | undefined
  for (const start of [blind.best, greedy]) {
    const resolved = yield* resolveConflicts(problem, start, together, budget)
    const score = mean(resolved.map(together))
    if (found === undefined || score < found.score) {
      found = { best: resolved, score }
    }
  }
  const climbed = yield* climb(problem, found!.best, together, budget, work, [...seed, 'together'])
  const plans = [climbed, found!, blind].map((plan) => ({ rounds: plan.best, seconds: seconds(plan) }))
  return plans.reduce((best, plan) => (plan.seconds < best.seconds ? plan : best))
}

interface Found {
  best: Rounds
  score: number
}

/** Counts work, and says when to let others run. */
export class Budget {
  readonly total: number
  spent = 0
  #slice = 0

  constructor(total: number) {
    this.total = total
  }

  spend(work: number): void {
    this.spent += work
  }

  /** True once for each slice of work. */
  slice(): boolean {
    const slice = Math.floor(this.spent / SLICE)
    const next = slice > this.#slice
    this.#slice = slice
    return next
  }
}

/** Local search by simulated annealing (Kirkpatrick et al. 1983), in {@link CYCLES} that begin at the best plan so far, until `until` work is spent in all. */
function* climb(
  problem: SkipProblem,
  start: Rounds,
  scoreOf: (paths: readonly SkipPath[]) => number,
  budget: Budget,
  until: number,
  seed: readonly (string | number)[],
): Generator<undefined, Found> {
  const random = seededRandom('skip-plan', ...seed)
  const changes = new Changes(problem, random, () => budget.spend(1))
  let found: Found = { best: start, score: mean(start.map(scoreOf)) }
  const length = (until - budget.spent) / CYCLES
  for (let cycle = 0; cycle < CYCLES; cycle++) {
    let rounds = found.best
    let scores = rounds.map(scoreOf)
    let score = found.score
    const begun = budget.spent
    let temperature = found.score * HOT
    let cooled = 1
    while (budget.spent < Math.min(until, begun + length)) {
      if (budget.slice()) {
        yield
      }
      // What is drawn in vain is work too.
      budget.spend(1)
      const change = changes.draw(rounds)
      if (change === undefined) {
        continue
      }
      const candidate = changed(rounds, change)
      const after = candidate.map((paths, round) => (paths === rounds[round] ? scores[round]! : scoreOf(paths)))
      const next = mean(after)
      for (; budget.spent - begun > (cooled * length) / PLATEAUS; cooled++) {
        temperature *= COOLING
      }
      if (accepted((next - score) / temperature, random.uniform())) {
        rounds = candidate
        scores = after
        score = next
      }
      if (score < found.score) {
        found = { best: rounds, score }
      }
    }
  }
  return found
}

/** True with probability exp(-worse), nearly: the head of the exponential's series, because Math.exp may differ in its last bit between machines. */
function accepted(worse: number, uniform: number): boolean {
  return worse <= 0 || uniform * (1 + worse * (1 + worse * (1 / 2 + worse / 6))) < 1
}

/** The slowest, with a little of the mean. */
function score(finished: ArrayLike<number>): number {
  let slowest = 0
  let sum = 0
  for (let i = 0; i < finished.length; i++) {
    slowest = Math.max(slowest, finished[i]!)
    sum += finished[i]!
  }
  return slowest + (MEAN_WEIGHT * sum) / finished.length
}

const mean = (list: readonly number[]): number => list.reduce((sum, value) => sum + value, 0) / list.length
