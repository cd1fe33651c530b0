/**
 * What a plan has to keep: SkipPipe's constraints. The paper's authors name TC1 and TC2; what CC1 to CC3 stand for was read from their code.
 *
 * | | |
 * |---|---|
 * | CC1 | a path begins with the first stage, which is neither left out nor moved, and belongs to a data peer |
 * | CC2 | stages are left out evenly: equally many microbatches go through each |
 * | CC3 | the order is all but natural: two neighbours may be swapped, twice at most; no stage twice; no more than three left out in a row |
 * | TC1 | a machine keeps no more microbatches than it has slots |
 * | TC2 | no two microbatches need a machine at the same time: wished for, never demanded ({@link collisions}) |
 */
import { orderFault } from './order.ts'
import { type SkipPath, type SkipPlan, type SkipProblem, skippable, visitsOf } from './problem.ts'
import { iteration } from './simulate.ts'
import { timetable } from './timetable.ts'

export type Constraint = 'CC1' | 'CC2' | 'CC3' | 'TC1' | 'paths'

/** What is broken, where. 'paths': the plan is none for this problem (number of paths, their length, machines without that stage). */
export interface Fault {
  constraint: Constraint
  /** Round, and path in it, from 0; undefined for what concerns all of them. */
  round?: number
  path?: number
  /** One clause, for people. */
  what: string
}

/** Everything that is wrong with the paths of a plan; empty for a plan that may be used. */
export function planFaults(problem: SkipProblem, { rounds }: Pick<SkipPlan, 'rounds'>): Fault[] {
  const faults: Fault[] = []
  if (rounds.length !== problem.rounds) {
    faults.push({ constraint: 'paths', what: `there are ${rounds.length} rounds, not ${problem.rounds}` })
  }
  const all = new Map<number, number>()
  for (const [round, paths] of rounds.entries()) {
    if (paths.length !== problem.origins.length * problem.paths) {
      const what = `there are ${paths.length} paths, not ${problem.origins.length * problem.paths}`
      faults.push({ constraint: 'paths', round, what })
    }
    const visits = new Map<number, number>()
    const slots = new Map<string, { machine: number; stage: number; taken: number }>()
    for (const [number, path] of paths.entries()) {
      const origin = problem.origins[Math.floor(number / problem.paths)]
      faults.push(...pathFaults(problem, path, origin).map((fault) => ({ ...fault, round, path: number })))
      for (const { machine, stage } of path.hops) {
        visits.set(stage, (visits.get(stage) ?? 0) + 1)
        all.set(stage, (all.get(stage) ?? 0) + 1)
        const key = `${machine} ${stage}`
        slots.set(key, { machine, stage, taken: (slots.get(key)?.taken ?? 0) + 1 })
      }
    }
    faults.push(...balanceFaults(problem, visits, visitsOf(problem).round).map((fault) => ({ ...fault, round })))
    for (const { machine, stage, taken } of slots.values()) {
      const most = problem.machines[machine]?.slots ?? 0
      if (taken > most) {
        const what = `machine ${machine} gets ${taken} microbatches for stage ${stage}, and has room for ${most}`
        faults.push({ constraint: 'TC1', round, what })
      }
    }
  }
  faults.push(...balanceFaults(problem, all, visitsOf(problem).all))
  return faults
}

/** What is wrong with one path, its data peer's name included; CC2 and TC1 are a matter of all paths together. */
export function pathFaults(problem: SkipProblem, { origin, hops }: SkipPath, expected = origin): Fault[] {
  const faults: Fault[] = []
  if (origin !== expected) {
    faults.push({ constraint: 'CC1', what: `it belongs to machine ${origin}, not to the data peer ${expected}` })
  }
  if (hops.length !== problem.keep) {
    faults.push({ constraint: 'paths', what: `it has ${hops.length} stages, not ${problem.keep}` })
  }
  const rank = ranksOf(problem)
  for (const { stage, machine } of hops) {
    if (problem.holders[stage - 1]?.includes(machine) !== true) {
      faults.push({ constraint: 'paths', what: `machine ${machine} does not hold stage ${stage}` })
    }
  }
  if (hops.every(({ stage }) => rank.has(stage))) {
    const ranks = hops.map(({ stage }) => rank.get(stage)!)
    const fault = orderFault(ranks, problem.fixed)
    if (fault !== undefined) {
      faults.push({ constraint: fault[0], what: `${hops.map(({ stage }) => stage).join(' ')} ${fault[1]}` })
    }
  }
  return faults
}

/** Place of each stage among those that somebody holds, from 1. */
export function ranksOf({ holders }: Pick<SkipProblem, 'holders'>): Map<number, number> {
  const stages = holders.flatMap((machines, i) => (machines.length > 0 ? [i + 1] : []))
  return new Map(stages.map((stage, i) => [stage, i + 1]))
}

function balanceFaults(problem: SkipProblem, visits: Map<number, number>, [least, most]: [number, number]): Fault[] {
  return skippable(problem).flatMap((stage): Fault[] => {
    const count = visits.get(stage) ?? 0
    const allowed = least === most ? `${least}` : `${least} to ${most}`
    return count < least || count > most
      ? [{ constraint: 'CC2', what: `${count} microbatches go through stage ${stage}, not ${allowed}` }]
      : []
  })
}

/** Two microbatches of one round that need the same machine at the same time. */
export interface Collision {
  machine: number
  /** Numbers of the microbatches in the iteration, the one that is there first named first. */
  microbatches: [number, number]
  from: number
  to: number
}

/**
 * Where the microbatches of one round would meet if none ever waited for another (TC2). Two backward passes are not counted, as in the
 * authors' code, and neither are the data peers' own tasks, which no plan can part.
 */
export function collisions(problem: SkipProblem, paths: readonly SkipPath[]): Collision[] {
  const visits = iteration(problem, paths)
    .flatMap(({ path, release }, microbatch) =>
      timetable(problem, { ...path, start: release }).map((visit) => ({ ...visit, microbatch })),
    )
    .filter(({ stage }) => stage > 0)
    .sort((a, b) => a.from - b.from || a.microbatch - b.microbatch)
  const found: Collision[] = []
  for (const [i, first] of visits.entries()) {
    for (const second of visits.slice(i + 1)) {
      const together = second.machine === first.machine && second.microbatch !== first.microbatch
      if (together && second.from < first.to && !(first.kind === 'backward' && second.kind === 'backward')) {
        const microbatches: [number, number] = [first.microbatch, second.microbatch]
        found.push({ machine: first.machine, microbatches, from: second.from, to: Math.min(first.to, second.to) })
      }
    }
  }
  return found
}
