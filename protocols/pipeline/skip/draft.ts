/** A plan in the making: paths that keep all constraints, and changes to them that do too. */
import type { Random } from '../../ports.ts'
import { ranksOf } from './constraints.ts'
import { orderFault } from './order.ts'
import { type SkipHop, type SkipPath, type SkipProblem, skippable, visitsOf } from './problem.ts'
import { cheapestPath } from './search.ts'

/** Starts are multiples of the mean forward pass divided by this, and at most {@link LATEST} forward passes late. */
const GRAINS = 4
const LATEST = 6

/** One in so many machines is closed to a path that looks for a cheap way. */
const CLOSED = 4

/** Paths by round. */
export type Rounds = readonly (readonly SkipPath[])[]

/** Paths to put in the place of others. */
export type Change = readonly { round: number; number: number; path: SkipPath }[]

/**
 * The stages of each path of each round, in natural order, so that equally many paths go through each stage, in a round but for one, and no two stages of a
 * path lie farther apart than they must. Path a has stage i where letter i + a of a balanced word is 1: windows of one length have as many ones, but for
 * one, wherever they lie (Lothaire, Algebraic Combinatorics on Words, section 2.1).
 */
export function evenStages(problem: SkipProblem): number[][][] {
  const { fixed, keep, origins, paths, rounds } = problem
  const others = skippable(problem)
  const first = Array.from({ length: fixed }, (_, i) => i + 1)
  const ones = keep - fixed
  const letters = others.length
  const letter = (at: number): boolean => Math.floor(((at + 1) * ones) / letters) > Math.floor((at * ones) / letters)
  const each = origins.length * paths
  return Array.from({ length: rounds }, (_, round) =>
    Array.from({ length: each }, (_, number) => [
      ...first,
      ...others.filter((_, i) => letter((i + round * each + number) % letters)),
    ]),
  )
}

/** Paths with {@link evenStages}, each the cheapest with its stages at the machines that those before it left room at. */
export function greedyRounds(problem: SkipProblem, onExpand: () => void): Rounds {
  return evenStages(problem).map((round) => {
    const taken = new Map<string, number>()
    return round.map((stages, number) => {
      const allowed = (stage: number, machine: number): boolean =>
        stages.includes(stage) && (taken.get(`${stage} ${machine}`) ?? 0) < problem.machines[machine]!.slots
      const origin = problem.origins[Math.floor(number / problem.paths)]!
      // There is one: the stages are all its own, their slots suffice for all paths (planFault), and the natural order is allowed.
      const start = (number % problem.paths) * problem.machines[origin]!.embed
      const { path } = cheapestPath(problem, origin, start, { allowed }, onExpand)!
      for (const { stage, machine } of path.hops) {
        taken.set(`${stage} ${machine}`, (taken.get(`${stage} ${machine}`) ?? 0) + 1)
      }
      return path
    })
  })
}

/** The rounds with a change made; rounds and paths without one are shared. */
export function changed(rounds: Rounds, change: Change): Rounds {
  const result = [...rounds]
  for (const { round, number, path } of change) {
    result[round] = result[round]!.with(number, path)
  }
  return result
}

/** Whether the machines have slots for all paths of a round (TC1). */
export function slotsSuffice({ machines }: SkipProblem, paths: readonly SkipPath[]): boolean {
  const taken = new Map<number, number>()
  for (const { hops } of paths) {
    for (const { stage, machine } of hops) {
      const key = stage * machines.length + machine
      const count = (taken.get(key) ?? 0) + 1
      if (count > machines[machine]!.slots) {
        return false
      }
      taken.set(key, count)
    }
  }
  return true
}

/** Changes at random that keep all constraints. */
export class Changes {
  readonly #problem: SkipProblem
  readonly #random: Random
  readonly #onExpand: () => void
  readonly #ranks: Map<number, number>
  readonly #visits: ReturnType<typeof visitsOf>
  /** What starts are multiples of. */
  readonly #grain: number

  constructor(problem: SkipProblem, random: Random, onExpand: () => void) {
    this.#onExpand = onExpand
    this.#problem = problem
    this.#random = random
    this.#ranks = ranksOf(problem)
    this.#visits = visitsOf(problem)
    this.#grain = problem.machines.reduce((sum, { forward }) => sum + forward, 0) / problem.machines.length / GRAINS
  }

  /** One of the kinds below; undefined where what was drawn is not allowed. */
  draw(rounds: Rounds): Change | undefined {
    const kinds = [this.#machine, this.#order, this.#stages, this.#stage, this.#turn, this.#start, this.#cheap]
    const change = kinds[this.#random.integer(kinds.length)]!.call(this, rounds)
    if (change === undefined) {
      return undefined
    }
    const after = changed(rounds, change)
    const touched = [...new Set(change.map(({ round }) => round))]
    return touched.every((round) => slotsSuffice(this.#problem, after[round]!)) ? change : undefined
  }

  /** Another machine for one hop; where that has no slot left, a path that is there comes here instead. */
  #machine(rounds: Rounds): Change | undefined {
    const { round, number, path } = this.#any(rounds)
    const at = this.#random.integer(path.hops.length)
    const { stage, machine } = path.hops[at]!
    const holders = this.#problem.holders[stage - 1]!
    const other = holders[this.#random.integer(holders.length)]!
    if (other === machine) {
      return undefined
    }
    const moved = { round, number, path: withHop(path, at, { stage, machine: other }) }
    const there = rounds[round]!.flatMap((neighbour, index) => {
      const hop = neighbour.hops.findIndex((its) => its.stage === stage && its.machine === other)
      return hop < 0 ? [] : [{ index, hop, neighbour }]
    })
    if (there.length < this.#problem.machines[other]!.slots) {
      return [moved]
    }
    const { index, hop, neighbour } = there[this.#random.integer(there.length)]!
    return [moved, { round, number: index, path: withHop(neighbour, hop, { stage, machine }) }]
  }

  /** Two hops of one path exchanged. */
  #order(rounds: Rounds): Change | undefined {
    const { round, number, path } = this.#any(rounds)
    const { fixed } = this.#problem
    if (path.hops.length - fixed < 2) {
      return undefined
    }
    const at = fixed + this.#random.integer(path.hops.length - fixed - 1)
    const hops = path.hops.with(at, path.hops[at + 1]!).with(at + 1, path.hops[at]!)
    return this.#inOrder(hops) ? [{ round, number, path: { ...path, hops } }] : undefined
  }

  /** Two paths exchange a stage that only the one has for one that only the other has; both go on in natural order but for what that leaves swapped. */
  #stages(rounds: Rounds): Change | undefined {
    const one = this.#any(rounds)
    const two = this.#any(rounds)
    const only = (a: SkipPath, b: SkipPath): number[] =>
      a.hops.flatMap(({ stage }, i) => (b.hops.some((hop) => hop.stage === stage) ? [] : [i]))
    const ours = only(one.path, two.path)
    const theirs = only(two.path, one.path)
    if (ours.length === 0) {
      return undefined
    }
    const [from, to] = [ours[this.#random.integer(ours.length)]!, theirs[this.#random.integer(theirs.length)]!]
    const given = one.path.hops[from]!
    const got = two.path.hops[to]!
    const first = this.#placed(one.path, from, got)
    const second = this.#placed(two.path, to, given)
    if (first === undefined || second === undefined) {
      return undefined
    }
    if (one.round !== two.round) {
      const even =
        this.#even([rounds[one.round]!], given.stage, got.stage, this.#visits.round) &&
        this.#even([rounds[two.round]!], got.stage, given.stage, this.#visits.round)
      if (!even) {
        return undefined
      }
    }
    return [
      { ...one, path: first },
      { ...two, path: second },
    ]
  }

  /** Another stage in place of one, where stages need not be on equally many paths to the last one. */
  #stage(rounds: Rounds): Change | undefined {
    const { round, number, path } = this.#any(rounds)
    const { fixed, holders, keep } = this.#problem
    if (keep === fixed) {
      return undefined
    }
    const at = fixed + this.#random.integer(keep - fixed)
    const stage = fixed + 1 + this.#random.integer(holders.length - fixed)
    const machines = holders[stage - 1]!
    const old = path.hops[at]!.stage
    const even =
      machines.length > 0 &&
      path.hops.every((hop) => hop.stage !== stage) &&
      this.#even([rounds[round]!], old, stage, this.#visits.round) &&
      this.#even(rounds, old, stage, this.#visits.all)
    const placed = even
      ? this.#placed(path, at, { stage, machine: machines[this.#random.integer(machines.length)]! })
      : undefined
    return placed === undefined ? undefined : [{ round, number, path: placed }]
  }

  /**
   * A cheap path of its data peer's for one of them, whatever stands in the way: others of the round give up the stages and slots that it takes, for those
   * that it leaves. Some machines are closed to it at random, so that it is not the cheapest one every time.
   */
  #cheap(rounds: Rounds): Change | undefined {
    const { round, number, path } = this.#any(rounds)
    const { fixed, machines, holders } = this.#problem
    const open = holders.map((of) => of.filter(() => this.#random.integer(CLOSED) > 0))
    const allowed = (stage: number, machine: number): boolean => stage <= fixed || open[stage - 1]!.includes(machine)
    const found = cheapestPath(this.#problem, path.origin, path.start, { allowed }, this.#onExpand)
    if (found === undefined) {
      return undefined
    }
    const paths = [...rounds[round]!]
    paths[number] = found.path
    const without = (a: SkipPath, b: SkipPath): SkipHop[] =>
      a.hops.filter(({ stage }) => b.hops.every((hop) => hop.stage !== stage))
    const left = without(path, found.path)
    for (const [i, { stage }] of without(found.path, path).entries()) {
      const given = left[i]!
      const giver = this.#pick(paths, number, ({ hops }) => {
        const has = (wanted: number): boolean => hops.some((hop) => hop.stage === wanted)
        return has(stage) && !has(given.stage)
      })
      if (giver === undefined) {
        return undefined
      }
      const at = paths[giver]!.hops.findIndex((hop) => hop.stage === stage)
      const placed = this.#placed(paths[giver]!, at, given)
      if (placed === undefined) {
        return undefined
      }
      paths[giver] = placed
    }
    const users = (wanted: SkipHop): number[] =>
      paths.flatMap(({ hops }, i) =>
        hops.some(({ stage, machine }) => stage === wanted.stage && machine === wanted.machine) ? [i] : [],
      )
    for (const hop of found.path.hops) {
      if (users(hop).length > machines[hop.machine]!.slots) {
        const other = holders[hop.stage - 1]!.find(
          (machine) => users({ ...hop, machine }).length < machines[machine]!.slots,
        )
        const mover = this.#pick(paths, number, (_, i) => users(hop).includes(i))
        if (other === undefined || mover === undefined) {
          return undefined
        }
        const at = paths[mover]!.hops.findIndex(({ stage }) => stage === hop.stage)
        paths[mover] = withHop(paths[mover]!, at, { ...hop, machine: other })
      }
    }
    return paths.flatMap((after, i) => (after === rounds[round]![i] ? [] : [{ round, number: i, path: after }]))
  }

  /** A path at random, other than the one given, for which that holds. */
  #pick(paths: readonly SkipPath[], but: number, fits: (path: SkipPath, i: number) => boolean): number | undefined {
    const found = paths.flatMap((path, i) => (i !== but && fits(path, i) ? [i] : []))
    return found.length === 0 ? undefined : found[this.#random.integer(found.length)]!
  }

  /** Another start. */
  #start(rounds: Rounds): Change | undefined {
    const { round, number, path } = this.#any(rounds)
    return [{ round, number, path: { ...path, start: this.#grain * this.#random.integer(LATEST * GRAINS + 1) } }]
  }

  /** Two paths of one round exchange their hops: another data peer, or another turn of the same one. */
  #turn(rounds: Rounds): Change | undefined {
    const { round, number, path } = this.#any(rounds)
    const other = this.#random.integer(rounds[round]!.length)
    const second = rounds[round]![other]!
    return other === number
      ? undefined
      : [
          { round, number, path: { ...path, hops: second.hops } },
          { round, number: other, path: { ...second, hops: path.hops } },
        ]
  }

  #any(rounds: Rounds): { round: number; number: number; path: SkipPath } {
    const round = this.#random.integer(rounds.length)
    const number = this.#random.integer(rounds[round]!.length)
    return { round, number, path: rounds[round]![number]! }
  }

  /** The path with another hop for one of its own: in the same position where that order is allowed, else in natural order. */
  #placed(path: SkipPath, at: number, hop: SkipHop): SkipPath | undefined {
    const kept = path.hops.with(at, hop)
    const sorted = [...kept].sort((a, b) => a.stage - b.stage)
    const hops = [kept, sorted].find((order) => this.#inOrder(order))
    return hops === undefined ? undefined : { ...path, hops }
  }

  /** Whether one path fewer through the one stage and one more through the other keeps both within the range (CC2). */
  #even(rounds: Rounds, fewer: number, more: number, [least, most]: [number, number]): boolean {
    let [a, b] = [0, 0]
    for (const paths of rounds) {
      for (const { hops } of paths) {
        for (const { stage } of hops) {
          a += stage === fewer ? 1 : 0
          b += stage === more ? 1 : 0
        }
      }
    }
    return a > least && b < most
  }

  #inOrder(hops: readonly SkipHop[]): boolean {
    const ranks = hops.map(({ stage }) => this.#ranks.get(stage)!)
    return orderFault(ranks, this.#problem.fixed) === undefined
  }
}

const withHop = (path: SkipPath, at: number, hop: SkipHop): SkipPath => ({ ...path, hops: path.hops.with(at, hop) })
