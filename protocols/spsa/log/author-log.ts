import { CHUNK, type Followed, type Head, walk } from './chain.ts'

/** One author's contributions in memory: a growing prefix, its signed head, and heads in between to start hashing from. */
export class AuthorLog {
  /** h_0. */
  readonly origin: Uint8Array
  /** The first `count` are contributions; what follows is room to grow. At most doubled, so below twice the run's steps. */
  #bytes = new Uint8Array(64)
  #head: Head
  #signature: Uint8Array = new Uint8Array(0)
  /** h at 0, CHUNK, 2 CHUNK, ...: 32 bytes for every {@link CHUNK} contributions. */
  readonly #anchors: Uint8Array[]
  /** Contributions that are on disk with a head that covers them. */
  saved = 0

  constructor(origin: Uint8Array) {
    this.origin = origin
    this.#head = { count: 0, hash: origin }
    this.#anchors = [origin]
  }

  get head(): Head {
    return this.#head
  }

  get count(): number {
    return this.#head.count
  }

  /** The author's signature over the head; empty while there is none. */
  get signature(): Uint8Array {
    return this.#signature
  }

  /** Contributions of the steps `from` to `to`, both included; a view. */
  view(from = 1, to = this.count): Uint8Array {
    return this.#bytes.subarray(from - 1, to)
  }

  /** All contributions and the given next ones, without taking the latter into the prefix: a view that is good until the next call. */
  with(next: Uint8Array): Uint8Array {
    const count = this.count + next.length
    if (count > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(2 * this.#bytes.length, count))
      grown.set(this.view())
      this.#bytes = grown
    }
    this.#bytes.set(next, this.count)
    return this.#bytes.subarray(0, count)
  }

  /** Takes the next contributions; the chain over them was followed and its head is signed. */
  extend(next: Uint8Array, followed: Followed, signature: Uint8Array): void {
    this.with(next)
    this.#head = followed.head
    this.#anchors.push(...followed.anchors)
    this.#signature = signature
  }

  /** Chain before `step`, which is at most one after the last. Hashes less than {@link CHUNK} contributions. */
  headBefore(step: number): Head {
    const count = step - 1
    if (count === this.count) {
      return this.#head
    }
    const start = count - (count % CHUNK)
    return { count, hash: walk({ count: start, hash: this.#anchors[start / CHUNK]! }, this.view(start + 1, count)) }
  }
}
