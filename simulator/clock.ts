/** Time that moves only when told to, so that minutes of a swarm pass in milliseconds and always in the same order. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { type Clock, StarlingError } from '../protocols/index.ts'

interface Entry {
  at: number
  /** Order of scheduling: entries of one moment run first come, first served. */
  order: number
  action: () => unknown
}

/** A clock for simulations. All peers of one simulation share it. */
export interface VirtualClock extends Clock {
  /**
   * Calls `action` after `milliseconds`; returns how to cancel that. An action that returns false has settled no promise, so that time need
   * not wait for what would come of it.
   */
  schedule(milliseconds: number, action: () => unknown): () => void
  /** Lets `milliseconds` pass: everything due in between happens in order, promises included. */
  advance(milliseconds: number): Promise<void>
  /**
   * Lets time pass until the condition holds; it is looked at after each event. Throws StarlingError 'simulation-stuck' when `limit`
   * milliseconds (default 1 hour) pass first or nothing is left to happen.
   */
  runUntil(condition: () => boolean, limit?: number): Promise<void>
  /** Lets time pass until the promise settles and returns what it gives; the same limits as {@link runUntil}. */
  run<T>(promise: Promise<T>, limit?: number): Promise<T>
  /** Stops time while real work (a file, a worker thread) is under way, so that it takes no virtual time. */
  hold<T>(work: Promise<T>): Promise<T>
}

/** Default limit of {@link VirtualClock.runUntil}, ms of virtual time: longer than any exchange or transfer takes. */
const RUN_LIMIT = 3_600_000

/** Settled moments after which the event loop gets a turn, so that signals and worker threads are heard while nothing is held. */
const TURN_EVERY = 64

/**
 * Resolves once no promise can go on by itself, at a fraction of the price of a turn of the event loop: a tick that a microtask asks for comes after the
 * last microtask. One that is asked for outside of them would come before the first, so whoever calls this has awaited something.
 */
const drained = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve))

/** A clock that starts at 0. */
export function createVirtualClock(): VirtualClock {
  /** Binary heap by (at, order). Grows with the sleepers of the simulation, which bound themselves. */
  const heap: Entry[] = []
  const cancelled = new WeakSet<Entry>()
  let time = 0
  let order = 0
  let held = 0
  let settled = 0

  const before = (a: Entry, b: Entry): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)

  const push = (entry: Entry): void => {
    let index = heap.push(entry) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!before(entry, heap[parent] as Entry)) {
        break
      }
      heap[index] = heap[parent] as Entry
      index = parent
    }
    heap[index] = entry
  }

  const pop = (): Entry | undefined => {
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) {
      return first
    }
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      if (child >= heap.length) {
        break
      }
      if (child + 1 < heap.length && before(heap[child + 1] as Entry, heap[child] as Entry)) {
        child++
      }
      if (!before(heap[child] as Entry, last)) {
        break
      }
      heap[index] = heap[child] as Entry
      index = child
    }
    heap[index] = last
    return first
  }

  const dropCancelled = (): void => {
    while (heap[0] !== undefined && cancelled.has(heap[0])) {
      pop()
    }
  }

  /** Lets every promise that can go on do so, and real work that is held come to its end. Called between two awaits: see {@link drained}. */
  const settle = async (): Promise<void> => {
    await drained()
    if (++settled % TURN_EVERY === 0) {
      await nextTurn()
    }
    while (held > 0) {
      await nextTurn()
    }
  }

  /** Runs the next entry if it is due by `until`. 'quiet': it settled no promise. */
  const step = (until: number): 'none' | 'quiet' | 'ran' => {
    dropCancelled()
    const next = heap[0]
    if (next === undefined || next.at > until) {
      return 'none'
    }
    pop()
    time = Math.max(time, next.at)
    return next.action() === false ? 'quiet' : 'ran'
  }

  const clock: VirtualClock = {
    now: () => time,
    schedule(milliseconds, action) {
      const entry: Entry = { at: time + Math.max(0, milliseconds), order: order++, action }
      push(entry)
      return () => {
        cancelled.add(entry)
      }
    },
    sleep(milliseconds, signal) {
      return new Promise((resolve, reject) => {
        if (signal?.aborted === true) {
          reject(signal.reason)
          return
        }
        const abort = (): void => {
          cancel()
          reject(signal?.reason)
        }
        const cancel = clock.schedule(milliseconds, () => {
          signal?.removeEventListener('abort', abort)
          resolve()
        })
        signal?.addEventListener('abort', abort, { once: true })
      })
    },
    async advance(milliseconds) {
      const until = time + milliseconds
      await undefined
      await settle()
      for (let done = step(until); done !== 'none'; done = step(until)) {
        if (done === 'ran') {
          await settle()
        }
      }
      time = until
    },
    async runUntil(condition, limit = RUN_LIMIT) {
      const until = time + limit
      await undefined
      await settle()
      while (!condition()) {
        const done = step(until)
        if (done === 'ran') {
          await settle()
        } else if (done === 'none') {
          throw new StarlingError(
            'simulation-stuck',
            heap.length === 0
              ? `nothing is left to happen at ${time} ms and the condition does not hold`
              : `the condition does not hold after ${limit} ms of virtual time`,
            { time, limit, left: heap.length },
          )
        }
      }
    },
    async run(promise, limit) {
      let over = false
      const mark = (): void => {
        over = true
      }
      promise.then(mark, mark)
      await clock.runUntil(() => over, limit)
      return promise
    },
    async hold(work) {
      held++
      try {
        return await work
      } finally {
        held--
      }
    },
  }
  return clock
}
