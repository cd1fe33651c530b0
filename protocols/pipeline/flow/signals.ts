/** Signals that follow others. Not AbortSignal.any, which on Node 20 keeps something of every signal made from a long-lived one. */
import type { Clock } from '../../ports.ts'

/** A signal that aborts with either of two, until it is ended. */
export function either(a: AbortSignal, b: AbortSignal): { signal: AbortSignal; end(): void } {
  const both = new AbortController()
  const onA = (): void => both.abort(a.reason)
  const onB = (): void => both.abort(b.reason)
  for (const [signal, listener] of [
    [a, onA],
    [b, onB],
  ] as const) {
    if (signal.aborted) {
      listener()
    }
    signal.addEventListener('abort', listener, { once: true })
  }
  return {
    signal: both.signal,
    end() {
      a.removeEventListener('abort', onA)
      b.removeEventListener('abort', onB)
    },
  }
}

/** A signal that aborts so many ms after another, until it is ended. */
export function after(signal: AbortSignal, milliseconds: number, clock: Clock): { signal: AbortSignal; end(): void } {
  const late = new AbortController()
  const over = new AbortController()
  const onAbort = (): void => {
    clock.sleep(milliseconds, over.signal).then(
      () => late.abort(signal.reason),
      // Ended before.
      () => undefined,
    )
  }
  if (signal.aborted) {
    onAbort()
  }
  signal.addEventListener('abort', onAbort, { once: true })
  return {
    signal: late.signal,
    end() {
      signal.removeEventListener('abort', onAbort)
      over.abort()
    },
  }
}

/** Signals of many pieces of work that all abort with one: Node warns of a leak where a signal gets a listener for each of more than ten. */
export class Fan {
  readonly #parent: AbortSignal
  /** Bounded by the work under way. */
  readonly #children = new Set<AbortController>()
  readonly #abort = (): void => {
    for (const child of [...this.#children]) {
      child.abort(this.#parent.reason)
    }
  }

  constructor(parent: AbortSignal) {
    this.#parent = parent
    parent.addEventListener('abort', this.#abort, { once: true })
  }

  /** Does a piece of work under a signal of its own. */
  async run<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const child = new AbortController()
    if (this.#parent.aborted) {
      child.abort(this.#parent.reason)
    }
    this.#children.add(child)
    try {
      return await work(child.signal)
    } finally {
      this.#children.delete(child)
    }
  }

  /** Follows no more. */
  end(): void {
    this.#parent.removeEventListener('abort', this.#abort)
  }
}

/** All of some items at once, each under a signal of its own that aborts with one. */
export async function forEach<T, R>(
  items: readonly T[],
  signal: AbortSignal,
  work: (item: T, signal: AbortSignal, i: number) => Promise<R>,
): Promise<R[]> {
  const fan = new Fan(signal)
  try {
    return await Promise.all(items.map((item, i) => fan.run((own) => work(item, own, i))))
  } finally {
    fan.end()
  }
}
