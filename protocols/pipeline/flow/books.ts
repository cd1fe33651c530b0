/** The books of the data peers that this holder works for: opened, turned to newer attempts, and closed. */
import { StarlingError } from '../../errors.ts'
import type { PeerName } from '../../ports.ts'
import type { PassId } from '../messages.ts'
import { Book, type Visit } from './book.ts'
import type { FlowParts } from './parts.ts'
import { clearSum } from './stage-commit.ts'

export class Books {
  readonly #parts: FlowParts
  /** Drops a visit and what it has of memory. */
  readonly #drop: (book: Book, visit: Visit) => void
  /** By data peer; at most `dataPeers`. */
  readonly #books = new Map<PeerName, Book>()

  constructor(parts: FlowParts, drop: (book: Book, visit: Visit) => void) {
    this.#parts = parts
    this.#drop = drop
  }

  get(origin: PeerName): Book | undefined {
    return this.#books.get(origin)
  }

  /** The book of a pass's data peer, turned to its attempt. Throws 'not-a-data-peer', 'stale' or 'busy'. */
  of(id: PassId): Book {
    if (!this.#parts.holders.dataPeers().includes(id.origin)) {
      throw new StarlingError('not-a-data-peer', 'this peer does not know that peer for a data peer', {})
    }
    const book = this.#books.get(id.origin) ?? this.#open(id)
    const order = book.compare(id)
    if (order === 'stale') {
      throw new StarlingError('stale', 'that attempt is over', {})
    }
    if (order === 'newer') {
      this.#forget(book)
      book.turnTo(id)
    }
    return book
  }

  /** What the attempts under way left behind counts for nothing any more. */
  forgetAll(): void {
    for (const book of this.#books.values()) {
      this.#forget(book)
    }
  }

  /** Drops everything that is under way. */
  close(): void {
    for (const book of this.#books.values()) {
      for (const visit of [...book.visits.values()]) {
        this.#drop(book, visit)
      }
    }
    this.#books.clear()
  }

  /** A book for a data peer that this peer has not worked for, in place of one that is no data peer any more. */
  #open({ origin, session }: PassId): Book {
    const { holders, options } = this.#parts
    for (const old of [...this.#books.values()].filter((book) => !holders.dataPeers().includes(book.origin))) {
      if (this.#books.size >= options.dataPeers) {
        this.#forget(old)
        this.#books.delete(old.origin)
      }
    }
    const taken = new Set([...this.#books.values()].map(({ accumulator }) => accumulator))
    const accumulator = Array.from({ length: options.dataPeers }, (_, i) => i).find((i) => !taken.has(i))
    if (accumulator === undefined) {
      throw new StarlingError('busy', `this peer works for ${options.dataPeers} data peers already`, {})
    }
    const book = new Book(origin, accumulator, session)
    this.#books.set(origin, book)
    return book
  }

  /** What an attempt left behind counts for nothing any more. */
  #forget(book: Book): void {
    for (const visit of [...book.visits.values()].filter(({ id }) => id.keep)) {
      this.#drop(book, visit)
    }
    for (const stage of book.sums.keys()) {
      clearSum(this.#parts, stage, book.accumulator)
    }
    book.sums.clear()
  }
}
