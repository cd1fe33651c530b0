/** The parts of a node that run, in the order in which they were started. */
import type { Log } from '../log/index.ts'

export class Parts {
  /** A dozen. */
  readonly #started: { name: string; stop(): unknown }[] = []

  /** Remembers how to stop a part that has just been started. */
  add(name: string, stop: () => unknown): void {
    this.#started.push({ name, stop })
  }

  /** Stops all of them, the last one first. Never throws: a part that fails to stop gets a line in the log. */
  async stop(log: Log): Promise<void> {
    for (const { name, stop } of this.#started.splice(0).reverse()) {
      try {
        await stop()
      } catch (error) {
        log.warn('a part did not stop cleanly', { part: name }, error)
      }
    }
  }
}

/** Waits for the promise, but not longer. */
export async function within(milliseconds: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds)
  })
  try {
    await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
