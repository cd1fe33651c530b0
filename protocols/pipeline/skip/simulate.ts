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
  const { microbatches, every, stagger } = problem.release
  return problem.origins.flatMap((_, at) =>
    Array.from({ length: microbatches }, (_, m) => {
      const turn = m % problem.paths
      const path = paths[at * problem.paths + turn]!
      return { path, release: Math.floor(m / problem.paths) * every + turn * stagger }
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
  problem: Pick<SkipProblem, 'machines' | 'transfer' | 'pause'>,
  microbatches: readonly Released[],
  onTask?: (task: SimulatedTask) => void,
): { seconds: number; finished: Float64Array } {
  const { machines, transfer, pause } = problem
  const servers = machines.map((): Server => ({ queue: [], busy: false, held: new Map(), freed: -1 }))
  const arrivals = new Float64Array(microbatches.length)
  const progress = new Int32Array(microbatches.length)
  const finished = new Float64Array(microbatches.length).fill(Number.POSITIVE_INFINITY)
  // Events below `microbatches.length` are arrivals, those above say that a machine is free again: at the same moment, arrivals come first.
  const events = new EventQueue(microbatches.length + machines.length)

  const taskOf = (microbatch: number): Task => taskAt(microbatches[microbatch]!.path, progress[microbatch]!)
  const begin = (machine: number, now: number): void => {
    const server = servers[machine]!
    const { slots, forward, embed, loss } = machines[machine]!
    let best = -1
    let chosen: Task | undefined
    for (let i = 0; i < server.queue.length; i++) {
      const task = taskOf(server.queue[i]!)
      if (task.kind === 'forward' && (server.held.get(task.stage) ?? 0) >= slots) {
        continue
      }
      // The queue is in order of arrival, so only a backward pass comes before one found earlier.
      if (chosen === undefined || (task.kind === 'backward' && chosen.kind !== 'backward')) {
        best = i
        chosen = task
      }
    }
    if (chosen === undefined) {
      return
    }
    const microbatch = server.queue[best]!
    server.queue.splice(best, 1)
    server.busy = true
    const { stage, kind } = chosen
    if (kind === 'forward') {
      server.held.set(stage, (server.held.get(stage) ?? 0) + 1)
    }
    server.freed = kind === 'backward' ? stage : -1
    const unit = stage === 0 ? embed : forward
    const end = now + (kind === 'loss' ? loss : kind === 'backward' ? BACKWARD * unit : unit)
    onTask?.({
      microbatch,
      task: progress[microbatch]!,
      machine,
      stage,
      kind,
      arrived: arrivals[microbatch]!,
      started: now,
      ended: end,
    })
    progress[microbatch]!++
    const { path } = microbatches[microbatch]!
    if (progress[microbatch]! === 2 * path.hops.length + 3) {
      finished[microbatch] = end
    } else {
      events.add(end + transfer[machine]![taskOf(microbatch).machine]!, microbatch)
    }
    events.add(end + pause, microbatches.length + machine)
  }

  for (let microbatch = 0; microbatch < microbatches.length; microbatch++) {
    events.add(microbatches[microbatch]!.release, microbatch)
  }
  while (events.size > 0) {
    const now = events.time
    const event = events.take()
    const machine = event < microbatches.length ? taskOf(event).machine : event - microbatches.length
    const server = servers[machine]!
    if (event < microbatches.length) {
      arrivals[event] = now
      server.queue.push(event)
    } else {
      server.busy = false
      if (server.freed >= 0) {
        server.held.set(server.freed, server.held.get(server.freed)! - 1)
      }
    }
    if (!server.busy) {
      begin(machine, now)
    }
  }
  return { seconds: finished.reduce((most, time) => Math.max(most, time), 0), finished }
}

interface Server {
  /** Microbatches that wait here, in order of arrival. */
  queue: number[]
  busy: boolean
  /** Slots taken, by stage. */
  held: Map<number, number>
  /** Stage of the backward pass that is under way, whose slot is free after it; -1 for none. */
  freed: number
}

interface Task {
  machine: number
  stage: number
  kind: SimulatedTask['kind']
}

/** Task number `task` of a path. */
function taskAt({ origin, hops }: SkipPath, task: number): Task {
  const last = 2 * hops.length + 2
  if (task === 0 || task === last) {
    return { machine: origin, stage: 0, kind: task === 0 ? 'forward' : 'backward' }
  }
  if (task === hops.length + 1) {
    return { machine: origin, stage: 0, kind: 'loss' }
  }
  const { stage, machine } = hops[task <= hops.length ? task - 1 : last - 1 - task]!
  return { machine, stage, kind: task <= hops.length ? 'forward' : 'backward' }
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
