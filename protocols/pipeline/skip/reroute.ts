/** A plan that goes on without one of its holders, at once: only the paths through it change. */
import { planFaults, ranksOf } from './constraints.ts'
import { changed, slotsSuffice } from './draft.ts'
import { orderFault } from './order.ts'
import type { SkipHop, SkipPath, SkipPlan, SkipProblem } from './problem.ts'
import { iteration, simulateIteration } from './simulate.ts'
import { roundTrip } from './timetable.ts'

/**
 * The plan without that machine at that stage: its microbatches go to another holder of the stage; where there is none, through another stage instead, as
 * evenly as CC2 with a slack of one visit wants it. Undefined where neither can be done within the constraints: then a new
 * plan is due, or the stage has to come back.
 */
export function reroute(
  problem: SkipProblem,
  plan: SkipPlan,
  lost: SkipHop,
): { problem: SkipProblem; plan: SkipPlan } | undefined {
  const holders = problem.holders.map((machines, i) =>
    i + 1 === lost.stage ? machines.filter((machine) => machine !== lost.machine) : machines,
  )
  // Another holder of the stage takes over visit by visit; other stages cannot always share them out evenly.
  const slack = holders[lost.stage - 1]!.length > 0 ? problem.slack : 1
  const without = { ...problem, holders, slack }
  const isLost = (hop: SkipHop): boolean => hop.stage === lost.stage && hop.machine === lost.machine
  let rounds = plan.rounds
  for (const [round, paths] of plan.rounds.entries()) {
    for (const [number, path] of paths.entries()) {
      const at = path.hops.findIndex(isLost)
      if (at < 0) {
        continue
      }
      const better = replacements(without, path, at)
        .map((candidate) => changed(rounds, [{ round, number, path: candidate }]))
        // The lost machine's slots are no longer anybody's, but paths still to be changed stand in them: that harms nobody.
        .filter((candidate) => slotsSuffice(without, candidate[round]!))
        .map((candidate) => {
          const after = candidate[round]![number]!
          const stage = after.hops.find(({ stage }) => path.hops.every((hop) => hop.stage !== stage))?.stage
          const visits = (of: readonly SkipPath[]): number =>
            of.filter(({ hops }) => hops.some((hop) => hop.stage === stage)).length
          return {
            candidate,
            here: visits(candidate[round]!),
            everywhere: visits(candidate.flat()),
            seconds: roundTrip(without, after),
          }
        })
        .sort((a, b) => a.here - b.here || a.everywhere - b.everywhere || a.seconds - b.seconds)
      if (better[0] === undefined) {
        return undefined
      }
      rounds = better[0].candidate
    }
  }
  if (planFaults(without, { rounds }).length > 0) {
    return undefined
  }
  const seconds = rounds.map((paths) => simulateIteration(without, iteration(without, paths)).seconds)
  return {
    problem: without,
    plan: { rounds, seconds: seconds.reduce((sum, value) => sum + value, 0) / seconds.length },
  }
}

/** Paths with another hop in place of that one. */
function replacements(problem: SkipProblem, path: SkipPath, at: number): SkipPath[] {
  const { holders, fixed } = problem
  const { stage } = path.hops[at]!
  const others = holders[stage - 1]!
  if (others.length > 0) {
    return others.map((machine) => ({ ...path, hops: path.hops.with(at, { stage, machine }) }))
  }
  const rank = ranksOf(problem)
  return holders.flatMap((machines, i) =>
    machines.flatMap((machine): SkipPath[] => {
      if (i < fixed || path.hops.some((hop) => hop.stage === i + 1)) {
        return []
      }
      const placed = path.hops.with(at, { stage: i + 1, machine })
      const sorted = [...placed].sort((a, b) => a.stage - b.stage)
      // Of another hop at the lost stage there can be none: a path goes to a stage once.
      const order = [placed, sorted].find(
        (hops) =>
          orderFault(
            hops.map((hop) => rank.get(hop.stage)!),
            fixed,
          ) === undefined,
      )
      return order === undefined ? [] : [{ ...path, hops: order }]
    }),
  )
}
