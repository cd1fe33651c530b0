import { StarlingError } from '../../errors.ts'

/**
 * Signals of their own for pieces of work that all end when the whole is closed: a listener of each on one common signal would pile up there. Whoever
 * starts the work bounds how many there are.
 */
export class Scopes {
  readonly #ends = new Set<() => void>()
  readonly #reason: string
  #closed = false

  /** `reason` is the message of the StarlingError 'aborted' that signals carry. */
  constructor(reason: string) {
    this.#reason = reason
  }

  /** Runs something with a signal, which is aborted by `end`, by {@link close}, and in any case when the work has settled. */
  async run<T>(work: (signal: AbortSignal, end: () => void) => Promise<T>): Promise<T> {
    const scope = new AbortController()
    const end = (): void => scope.abort(new StarlingError('aborted', this.#reason, {}))
    if (this.#closed) {
      end()
    }
    this.#ends.add(end)
    try {
      return await work(scope.signal, end)
    } finally {
      this.#ends.delete(end)
      // Ends what the work left waiting, such as its own time-out.
      end()
    }
  }

  /** Ends all work, and all that is begun from now on at once. */
  close(): void {
    this.#closed = true
    for (const end of [...this.#ends]) {
      end()
    }
  }
}
