/** When one microbatch would be where, if no other one were in its way but in the times that are closed to it. */
import { BACKWARD, type SkipPath, type SkipProblem } from './problem.ts'

/** A time in which a machine is closed to a microbatch, its end not included. */
export interface Window {
  machine: number
  from: number
  to: number
}

/** A task of the microbatch. */
export interface Visit {
  machine: number
  /** 0: the ends. */
  stage: number
  kind: 'forward' | 'loss' | 'backward'
  from: number
  to: number
}

/** First moment from `time` on at which a task of that length fits between the windows of its machine. */
export function firstOpening(windows: readonly Window[], machine: number, time: number, length: number): number {
  let start = time
  for (let moved = true; moved; ) {
    moved = false
    for (const window of windows) {
      if (window.machine === machine && window.from < start + length && start < window.to) {
        start = window.to
        moved = true
      }
    }
  }
  return start
}

/** All tasks of a microbatch, in order; the last one's end is when it is done. A task that meets a closed machine begins when that opens. */
export function timetable(
  { machines, transfer }: Pick<SkipProblem, 'machines' | 'transfer'>,
  { origin, hops, start }: SkipPath,
  windows: readonly Window[] = [],
): Visit[] {
  const visits: Visit[] = []
  let at = origin
  let time = start
  const visit = (machine: number, stage: number, kind: Visit['kind'], length: number): void => {
    const from = firstOpening(windows, machine, time + (visits.length === 0 ? 0 : transfer[at]![machine]!), length)
    time = from + length
    at = machine
    visits.push({ machine, stage, kind, from, to: time })
  }
  const { embed, loss } = machines[origin]!
  visit(origin, 0, 'forward', embed)
  for (const { machine, stage } of hops) {
    visit(machine, stage, 'forward', machines[machine]!.forward)
  }
  visit(origin, 0, 'loss', loss)
  for (const { machine, stage } of [...hops].reverse()) {
    visit(machine, stage, 'backward', BACKWARD * machines[machine]!.forward)
  }
  visit(origin, 0, 'backward', BACKWARD * embed)
  return visits
}

/** End of {@link timetable}. */
export function roundTrip(
  problem: Pick<SkipProblem, 'machines' | 'transfer'>,
  path: SkipPath,
  windows: readonly Window[] = [],
): number {
  return timetable(problem, path, windows).at(-1)!.to
}
