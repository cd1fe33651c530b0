/** The cheapest path of one microbatch, the others left aside: SkipPipe's low-level search, best first. */
import { ranksOf } from './constraints.ts'
import { BEGIN, following, type Progress } from './order.ts'
import { BACKWARD, MAX_SWAPS, type SkipHop, type SkipPath, type SkipProblem } from './problem.ts'
import { firstOpening, roundTrip, type Window } from './timetable.ts'

/** What is closed to a microbatch. */
export interface Prohibitions {
  /** Whether it may go to that machine for that stage. Default: it may. */
  allowed?(stage: number, machine: number): boolean
  /** Times in which a machine is closed to it; it waits for their end. */
  windows?: readonly Window[]
}

/** A path, and when a microbatch on it is done. */
export interface FoundPath {
  path: SkipPath
  seconds: number
}

/** A path that is being built, or, with `done`, one whose time is exact. */
interface Entry {
  bound: number
  hops: readonly SkipHop[]
  progress: Progress
  /** When its last forward pass ends. */
  time: number
  /** Backward passes and transfers of what it has gone through, without waiting. */
  back: number
  done: boolean
}

/**
 * The path with exactly K stages, in an order that CC1 and CC3 allow, of which the round trip (forward, loss at the data peer, back) ends first; undefined where
 * there is none. Of equally quick ones always the same. `onExpand` counts the work.
 *
 * Entries are ordered by a lower bound of the whole trip: what was gone through, its way back included, and the cheapest rest as if there were no
 * windows. That rest is exact without windows, so that nothing but the best path is built then.
 */
export function cheapestPath(
  problem: SkipProblem,
  origin: number,
  start: number,
  { allowed = () => true, windows = [] }: Prohibitions = {},
  onExpand: () => void = () => {},
): FoundPath | undefined {
  const { machines, transfer, holders, fixed, keep } = problem
  const stages = [...ranksOf(problem).keys()]
  const { embed, loss } = machines[origin]!
  const links = (from: number, to: number): number => transfer[from]![to]! + transfer[to]![from]!
  const hopsFrom = ({ last }: Progress): SkipHop[] => {
    const stage = stages[last - 1]!
    return holders[stage - 1]!.filter((machine) => allowed(stage, machine)).map((machine) => ({ stage, machine }))
  }

  // Cheapest rest of the trip from there, by progress and machine; Infinity where no path can be completed.
  const rests = new Map<number, number>()
  const rest = (progress: Progress, machine: number): number => {
    if (progress.count === keep) {
      return links(machine, origin) + loss
    }
    const { last, foremost, open, swaps, count } = progress
    let key = ((last * (stages.length + 1) + foremost) * 2 + (open ? 1 : 0)) * (MAX_SWAPS + 1) + swaps
    key = (key * (keep + 1) + count) * machines.length + machine
    const known = rests.get(key)
    if (known !== undefined) {
      return known
    }
    onExpand()
    let best = Number.POSITIVE_INFINITY
    for (const next of following(progress, stages.length, fixed)) {
      for (const hop of hopsFrom(next)) {
        const step = links(machine, hop.machine) + (1 + BACKWARD) * machines[hop.machine]!.forward
        best = Math.min(best, step + rest(next, hop.machine))
      }
    }
    rests.set(key, best)
    return best
  }

  const begin = firstOpening(windows, origin, start, embed) + embed
  const bound = begin + rest(BEGIN, origin) + BACKWARD * embed
  const open: Entry[] = [{ bound, hops: [], progress: BEGIN, time: begin, back: BACKWARD * embed, done: false }]
  for (;;) {
    // The list stays short (see above), so that it is gone through instead of kept in order.
    let best = -1
    for (let i = 0; i < open.length; i++) {
      if (best < 0 || open[i]!.bound < open[best]!.bound) {
        best = i
      }
    }
    const entry = open[best]
    if (entry === undefined || !Number.isFinite(entry.bound)) {
      return undefined
    }
    open.splice(best, 1)
    onExpand()
    const { hops, progress, time, back, done } = entry
    if (done) {
      return { path: { origin, start, hops }, seconds: entry.bound }
    }
    if (progress.count === keep) {
      open.push({ ...entry, bound: roundTrip(problem, { origin, start, hops }, windows), done: true })
      continue
    }
    const at = hops.at(-1)?.machine ?? origin
    for (const next of following(progress, stages.length, fixed)) {
      for (const hop of hopsFrom(next)) {
        const { forward } = machines[hop.machine]!
        const began = firstOpening(windows, hop.machine, time + transfer[at]![hop.machine]!, forward)
        const behind = back + transfer[hop.machine]![at]! + BACKWARD * forward
        open.push({
          bound: began + forward + rest(next, hop.machine) + behind,
          hops: [...hops, hop],
          progress: next,
          time: began + forward,
          back: behind,
          done: false,
        })
      }
    }
  }
}
