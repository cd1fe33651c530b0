/**
 * One iteration of a pipeline, event by event: what a plan is judged by. The rules are those of the simulator that the authors of SkipPipe judge theirs by:
 * a machine does one task at a time, backward passes before all else, then what arrived first, and pauses after each; a forward pass waits for
 * a free slot, which its microbatch keeps until its backward pass there; loss takes none.
 */
import { BACKWARD, type SkipPath, type SkipProblem } from './problem.ts'

/** What a machine did. */
export interface SimulatedTask {
  /** Number of the microbatch in the list that was given. */
  microbatch: number
  /** Tasks of a microbatch are numbered in order: embedding, forward passes, loss, backward passes, backward pass of the embedding. */
  task: number
  machine: number
  /** 0: the ends. */
  stage: number
  kind: 'forward' | 'loss' | 'backward'
  /** When it could have begun had the machine been free, and when it did. */
  arrived: number
  started: number
  ended: number
}

/** A microbatch, let go at its data peer at `release`. */
export interface Released {
  path: SkipPath
  release: number
}

/** The microbatches of an iteration with these paths: those of each data peer go through its paths again and again. */
export function iteration(problem: SkipProblem, paths: readonly SkipPath[]): Released[] {
  const { microbatches, every } = problem.release
  return problem.origins.flatMap((_, at) =>
    Array.from({ length: microbatches }, (_, m) => {
      const path = paths[at * problem.paths + (m % problem.paths)]!
      return { path, release: path.start + Math.floor(m / problem.paths) * every }
    }),
  )
}

/** Tasks of an iteration: what simulating it costs. */
export const tasksOf = ({ origins, release, keep }: SkipProblem): number =>
  origins.length * release.microbatches * (2 * keep + 3)

/**
 * Plays the microbatches through. `finished`: when each one's last task ended; infinite where microbatches keep slots that others wait for, and they for
 * theirs, so that nothing goes on. `seconds`: the largest of these.
 */
export function simulateIteration(
  problem: Pick<SkipProblem, 'machines' | 'transfer' | 'pause' | 'holders'>,
  microbatches: readonly Released[],
  onTask?: (task: SimulatedTask) => void,
): { seconds: number; finished: Float64Array } {
  const { machines, pause, holders } = problem
  const work = compile(problem, microbatches)
  const count = microbatches.length
  const arrivals = new Float64Array(count)
  const finished = new Float64Array(count).fill(Number.POSITIVE_INFINITY)
  /** The task that each microbatch is at. */
  const current = Int32Array.from(work.first.subarray(0, count))
  /** Microbatches that wait at each machine, in order of arrival. */
  const queues = machines.map((): number[] => [])
  const busy = new Uint8Array(machines.length)
  /** Slots taken, by machine and stage; and, for a machine in a backward pass, whose are free after it. */
  const held = new Int32Array(machines.length * (holders.length + 1))
  const freed = new Int32Array(machines.length).fill(-1)
  // Events below `count` are arrivals, those above say that a machine is free again: at the same moment, arrivals come first.
  const events = new EventQueue(count + machines.length)

  const begin = (machine: number, now: number): void => {
    const queue = queues[machine]!
    const { slots } = machines[machine]!
    let best = -1
    for (let i = 0; i < queue.length; i++) {
      const task = current[queue[i]!]!
      const kind = work.kinds[task]
      if (kind === BACKWARD_TASK) {
        best = i
        break
      }
      // The queue is in order of arrival, so that only a backward pass goes before what was found.
      if (best < 0 && (kind === LOSS_TASK || held[work.cells[task]!]! < slots)) {
        best = i
      }
    }
    if (best < 0) {
      return
    }
    const microbatch = queue.splice(best, 1)[0]!
    const task = current[microbatch]!
    const cell = work.cells[task]!
    const end = now + work.lengths[task]!
    busy[machine] = 1
    freed[machine] = work.kinds[task] === BACKWARD_TASK ? cell : -1
    if (work.kinds[task] === FORWARD_TASK) {
      held[cell]!++
    }
    onTask?.({
      microbatch,
      task: task - work.first[microbatch]!,
      machine,
      stage: cell % (holders.length + 1),
      kind: KINDS[work.kinds[task]!]!,
      arrived: arrivals[microbatch]!,
      started: now,
      ended: end,
    })
    current[microbatch] = task + 1
    if (task + 1 === work.first[microbatch + 1]) {
      finished[microbatch] = end
    } else {
      events.add(end + work.travels[task]!, microbatch)
    }
    events.add(end + pause, count + machine)
  }

  for (let microbatch = 0; microbatch < count; microbatch++) {
    events.add(microbatches[microbatch]!.release, microbatch)
  }
  while (events.size > 0) {
    const now = events.time
    const event = events.take()
    const machine = event < count ? work.machines[current[event]!]! : event - count
    if (event < count) {
      arrivals[event] = now
      queues[machine]!.push(event)
    } else {
      busy[machine] = 0
      if (freed[machine]! >= 0) {
        held[freed[machine]!]!--
      }
    }
    if (busy[machine] === 0) {
      begin(machine, now)
    }
  }
  return { seconds: finished.reduce((most, time) => Math.max(most, time), 0), finished }
}

const KINDS = ['forward', 'loss', 'backward'] as const
const FORWARD_TASK = 0
const LOSS_TASK = 1
const BACKWARD_TASK = 2

/** All tasks of all microbatches, one after the other; those of microbatch m begin at first[m]. Flat, because a plan is simulated some ten thousand times. */
interface Work {
  first: Int32Array
  machines: Int32Array
  /** machine · (stages + 1) + stage */
  cells: Int32Array
  kinds: Uint8Array
  lengths: Float64Array
  /** To the next task's machine. */
  travels: Float64Array
}

function compile(
  { machines, transfer, holders }: Pick<SkipProblem, 'machines' | 'transfer' | 'holders'>,
  microbatches: readonly Released[],
): Work {
  const first = new Int32Array(microbatches.length + 1)
  for (const [i, { path }] of microbatches.entries()) {
    first[i + 1] = first[i]! + 2 * path.hops.length + 3
  }
  const total = first[microbatches.length]!
  const work: Work = {
    first,
    machines: new Int32Array(total),
    cells: new Int32Array(total),
    kinds: new Uint8Array(total),
    lengths: new Float64Array(total),
    travels: new Float64Array(total),
  }
  let at = 0
  const add = (machine: number, stage: number, kind: number, length: number): void => {
    work.machines[at] = machine
    work.cells[at] = machine * (holders.length + 1) + stage
    work.kinds[at] = kind
    work.lengths[at] = length
    if (at > 0) {
      // Of the last task of a microbatch this is never read.
      work.travels[at - 1] = transfer[work.machines[at - 1]!]![machine]!
    }
    at++
  }
  for (const { path } of microbatches) {
    const { origin, hops } = path
    const { embed, loss } = machines[origin]!
    add(origin, 0, FORWARD_TASK, embed)
    for (const { machine, stage } of hops) {
      add(machine, stage, FORWARD_TASK, machines[machine]!.forward)
    }
    add(origin, 0, LOSS_TASK, loss)
    for (let i = hops.length - 1; i >= 0; i--) {
      const { machine, stage } = hops[i]!
      add(machine, stage, BACKWARD_TASK, BACKWARD * machines[machine]!.forward)
    }
    add(origin, 0, BACKWARD_TASK, BACKWARD * embed)
  }
  return work
}

/** A binary heap of events by time, those at the same time by number. Each event is in it at most once. */
class EventQueue {
  readonly #times: Float64Array
  readonly #events: Int32Array
  size = 0

  constructor(most: number) {
    this.#times = new Float64Array(most)
    this.#events = new Int32Array(most)
  }

  /** Time of the first event. */
  get time(): number {
    return this.#times[0]!
  }

  add(time: number, event: number): void {
    let at = this.size++
    while (at > 0) {
      const above = (at - 1) >> 1
      if (!this.#before(time, event, above)) {
        break
      }
      this.#move(above, at)
      at = above
    }
    this.#times[at] = time
    this.#events[at] = event
  }

  /** Removes the first event. */
  take(): number {
    const first = this.#events[0]!
    const last = --this.size
    const time = this.#times[last]!
    const event = this.#events[last]!
    let at = 0
    for (;;) {
      let below = 2 * at + 1
      if (below >= last) {
        break
      }
      if (below + 1 < last && this.#before(this.#times[below + 1]!, this.#events[below + 1]!, below)) {
        below++
      }
      if (this.#before(time, event, below)) {
        break
      }
      this.#move(below, at)
      at = below
    }
    this.#times[at] = time
    this.#events[at] = event
    return first
  }

  #before(time: number, event: number, at: number): boolean {
    const other = this.#times[at]!
    return time < other || (time === other && event < this.#events[at]!)
  }

  #move(from: number, to: number): void {
    this.#times[to] = this.#times[from]!
    this.#events[to] = this.#events[from]!
  }
}
