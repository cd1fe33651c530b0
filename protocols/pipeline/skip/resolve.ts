/** Conflicts of a plan resolved one by one: the high level of SkipPipe's search (conflict-based search, Sharon et al. 2015), greedily and without backtracking. */
import { type Change, changed, type Rounds, slotsSuffice } from './draft.ts'
import type { Budget } from './plan.ts'
import type { SkipPath, SkipProblem } from './problem.ts'
import { cheapestPath } from './search.ts'
import { iteration, type SimulatedTask, simulateIteration } from './simulate.ts'
import type { Window } from './timetable.ts'

/** Waits of the slowest microbatch that are looked at, the longest first. */
const CANDIDATES = 4

/**
 * As long as that makes a round better: take the microbatch that ends last, and one of the times when it waits for a machine that is busy with another
 * one; keep either of the two away from that machine at the time, or altogether, and give it the cheapest path that is left with its stages.
 */
export function* resolveConflicts(
  problem: SkipProblem,
  start: Rounds,
  scoreOf: (paths: readonly SkipPath[]) => number,
  budget: Budget,
): Generator<undefined, Rounds> {
  let rounds = start
  for (const round of start.keys()) {
    let score = scoreOf(rounds[round]!)
    for (let better = true; better && budget.spent < budget.total; ) {
      better = false
      for (const change of branches(problem, rounds, round, budget)) {
        const candidate = changed(rounds, change)
        const after = slotsSuffice(problem, candidate[round]!) ? scoreOf(candidate[round]!) : score
        if (after < score) {
          rounds = candidate
          score = after
          better = true
          break
        }
      }
      if (budget.slice()) {
        yield
      }
    }
  }
  return rounds
}

/** Ways of resolving a conflict that delays the slowest microbatch of a round. */
function* branches(problem: SkipProblem, rounds: Rounds, round: number, budget: Budget): Generator<Change> {
  const paths = rounds[round]!
  const released = iteration(problem, paths)
  const tasks: SimulatedTask[] = []
  const { finished } = simulateIteration(problem, released, (task) => tasks.push(task))
  budget.spend(tasks.length)
  const slowest = finished.indexOf(Math.max(...finished))
  const waits = tasks
    .filter(({ microbatch, stage }) => microbatch === slowest && stage > 0)
    .filter(({ started, arrived }) => started > arrived)
    .sort((a, b) => b.started - b.arrived - (a.started - a.arrived))
    .slice(0, CANDIDATES)
  for (const wait of waits) {
    const { machine, stage } = wait
    const closed = (task: SimulatedTask): Window => ({ machine, from: task.started, to: task.ended + problem.pause })
    const there = tasks.filter(
      (task) => task.machine === machine && task.started < wait.started && task.ended + problem.pause > wait.arrived,
    )
    // The delayed one keeps away while the others are there; or one of the others keeps away while it is there.
    const parties = [
      { microbatch: slowest, windows: there.map(closed) },
      ...there.map(({ microbatch }) => ({ microbatch, windows: [closed(wait)] })),
    ]
    for (const { microbatch, windows } of parties) {
      const number = paths.indexOf(released[microbatch]!.path)
      const path = paths[number]!
      const own = new Set(path.hops.map((hop) => hop.stage))
      const taken = (at: number, of: number): number =>
        paths.filter((other, i) => i !== number && other.hops.some((hop) => hop.stage === of && hop.machine === at))
          .length
      const room = (of: number, at: number): boolean => own.has(of) && taken(at, of) < problem.machines[at]!.slots
      for (const allowed of [room, (of: number, at: number) => room(of, at) && !(of === stage && at === machine)]) {
        const found = cheapestPath(problem, path.origin, path.start, { allowed, windows }, () => budget.spend(1))
        if (found !== undefined) {
          yield [{ round, number, path: found.path }]
        }
      }
    }
  }
}
