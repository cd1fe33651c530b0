/** The asking side of anti-entropy: what one peer has and this one has not, in bounded questions, every answer checked. */
import { StarlingError } from '../../errors.ts'
import { equalBytes } from '../../hash.ts'
import type { PeerName, Transport } from '../../ports.ts'
import type { MessageType } from '../../wire/index.ts'
import type { ContributionLog, RefusalReason, Segment } from '../types.ts'
import {
  type Entry,
  PAGE,
  proofAnswer,
  SYNC_METHOD,
  type SyncQuestion,
  segmentsAnswer,
  syncQuestion,
  type VersionEntry,
  versionAnswer,
} from './messages.ts'

/** Whole time for one question, ms: a megabyte over a slow link. */
const QUESTION_TIMEOUT = 20_000

/** Proofs asked for in one exchange; the rest the next time. */
const PROOFS_PER_EXCHANGE = 8

/** The run's bounds, the same as the log's. */
export interface SyncLimits {
  /** Contributions per author. */
  steps: number
  /** Authors held, excluded ones included. */
  maxAuthors: number
}

/** What one exchange with one peer brought. */
export interface Brought {
  /** The peer's set was this peer's set already. */
  equal: boolean
  /** New contributions. */
  added: number
  /** New contributions of this peer itself, which it had forgotten. */
  own: number
  /** What the peer said its set is called; undefined when only segments were asked for. */
  digest: Uint8Array | undefined
  /** Authors whose segments could not be taken through no fault of this peer, and why. */
  refused: Map<PeerName, RefusalReason>
  /** Authors found out by this exchange itself, whose proofs nobody else may have. */
  caught: PeerName[]
}

/** A fault of the asked peer that ends an exchange. Code 'unserved-claims' is held against it only when repeated, the others at once. */
export class PeerFault extends StarlingError {
  constructor(code: 'bad-answer' | 'bad-signature' | 'false-proof' | 'unserved-claims', message: string) {
    super(code, message)
  }
}

/** One exchange with one peer. What was taken before it fails, stays. */
export class Exchange {
  readonly #transport: Transport
  readonly #log: ContributionLog
  readonly #limits: SyncLimits
  readonly #peer: PeerName
  readonly #signal: AbortSignal
  readonly brought: Brought = {
    equal: false,
    added: 0,
    own: 0,
    digest: undefined,
    refused: new Map(),
    caught: [],
  }

  constructor(
    context: { transport: Transport; log: ContributionLog; limits: SyncLimits },
    peer: PeerName,
    signal: AbortSignal,
  ) {
    this.#transport = context.transport
    this.#log = context.log
    this.#limits = context.limits
    this.#peer = peer
    this.#signal = signal
  }

  /**
   * Takes all that the peer has and this one has not. Throws {@link PeerFault}, and the StarlingErrors of `ask`.
   */
  async everything(): Promise<void> {
    let after = ''
    let listed = 0
    let proofs = PROOFS_PER_EXCHANGE
    for (;;) {
      const answer = await this.#ask({ ask: 'version', digest: this.#log.digest(), after }, versionAnswer)
      if (answer.equal) {
        this.brought.equal = after === ''
        this.brought.digest = this.#log.digest()
        return
      }
      const { page, excluded, more } = answer
      this.brought.digest = answer.digest
      const last = this.#checkPage(after, page, excluded, more)
      listed += page.length + excluded.length
      if (listed > this.#limits.maxAuthors) {
        // Pages are sorted, so these are that many names. Without this a liar could go on until the exchange times out.
        throw new PeerFault('bad-answer', `${this.#peer} lists more than the run's ${this.#limits.maxAuthors} authors`)
      }
      for (const author of excluded) {
        if (!this.#log.excluded().has(author) && proofs > 0) {
          proofs--
          await this.#fetchProof(author)
        }
      }
      await this.segments(page.map(([author, count]) => [author, count]))
      await this.segments(this.#parted(page), true)
      if (!more) {
        return
      }
      after = last
    }
  }

  /** Takes this peer's own contributions beyond those that it knows of, if the peer has any. */
  async own(): Promise<void> {
    const { self } = this.#transport
    const from = this.#log.bytesOf(self).length + 1
    const { segments } = await this.#ask({ ask: 'segments', wanted: [[self, from]] }, segmentsAnswer)
    const [first] = segments
    if (first !== undefined) {
      // What it has there is a claim like any other.
      await this.segments([[self, from - 1 + first[2].length]])
    }
  }

  /** Authors of whom the peer has as many contributions as this one, and others. */
  #parted(page: readonly VersionEntry[]): Entry[] {
    const parted = page.filter(([author, count, tag]) => {
      const head = this.#log.headOf(author)
      const same = head === undefined || equalBytes(head.subarray(0, tag.length), tag)
      return this.#log.bytesOf(author).length === count && !same
    })
    return parted.map(([author, count]) => [author, count])
  }

  /** The last name of a page; a page that is out of order or claims too much is a fault. */
  #checkPage(after: PeerName, page: readonly VersionEntry[], excluded: readonly PeerName[], more: boolean): PeerName {
    const names = [page.map(([author]) => author), excluded]
    const sorted = names.every((list) => list.every((name, index) => name > (list[index - 1] ?? after)))
    const last = names
      .flatMap((list) => list.slice(-1))
      .sort()
      .at(-1)
    if (!sorted || (more && last === undefined) || page.some(([, count]) => count > this.#limits.steps)) {
      throw new PeerFault(
        'bad-answer',
        `${this.#peer} sent a version vector that is out of order or beyond the run's steps`,
      )
    }
    return last ?? after
  }

  async #fetchProof(author: PeerName): Promise<void> {
    const { proof } = await this.#ask({ ask: 'proof', author }, proofAnswer)
    if (proof.author !== author || !(await this.#log.accuse(proof))) {
      throw new PeerFault('false-proof', `${this.#peer} excludes ${author} with a proof that proves nothing`)
    }
  }

  /**
   * Takes the contributions that the peer claims beyond those held: [author, count] as in a version vector. `fromStart`: asks for whole histories
   * at once, because the author is known to have signed something that does not join what is held.
   */
  async segments(claims: readonly Entry[], fromStart = false): Promise<void> {
    // By author; at most a page. What is left is asked for until nothing is, and every answer has to bring at least the first.
    const claimed = new Map(claims.slice(0, PAGE))
    /** Authors whose whole history is wanted, because what came did not join what is held. */
    const whole = new Set<PeerName>(fromStart ? claimed.keys() : [])
    for (;;) {
      const wanted: Entry[] = []
      let room = this.#limits.maxAuthors - this.#log.version().size - this.#log.excluded().size
      for (const [author, count] of claimed) {
        const held = this.#log.bytesOf(author).length
        const from = whole.has(author) ? 1 : held + 1
        if (from > count || this.#log.excluded().has(author)) {
          claimed.delete(author)
        } else if (held === 0 && room === 0) {
          claimed.delete(author)
          this.brought.refused.set(author, 'too-many-authors')
        } else {
          room -= held === 0 ? 1 : 0
          wanted.push([author, from])
        }
      }
      const first = wanted[0]
      if (first === undefined) {
        return
      }
      const { segments } = await this.#ask({ ask: 'segments', wanted }, segmentsAnswer)
      const missing = new Map(wanted)
      for (const [author, from, bytes, signature] of segments) {
        if (missing.get(author) !== from) {
          throw new PeerFault('bad-answer', `${this.#peer} sent contributions that were not asked for`)
        }
        missing.delete(author)
        await this.#take({ author, from, bytes, signature }, claimed, whole)
      }
      if (missing.has(first[0])) {
        throw new PeerFault(
          'unserved-claims',
          `${this.#peer} claims contributions of ${first[0]} and does not give them`,
        )
      }
    }
  }

  async #take(segment: Segment, claimed: Map<PeerName, number>, whole: Set<PeerName>): Promise<void> {
    const { author, from, bytes } = segment
    const count = claimed.get(author) ?? 0
    const taken = await this.#log.accept(segment)
    if ('added' in taken) {
      this.brought.added += taken.added
      this.brought.own += author === this.#transport.self ? taken.added : 0
      claimed.delete(author)
      if (from - 1 + bytes.length < count) {
        throw new PeerFault(
          'unserved-claims',
          `${this.#peer} claims ${count} contributions of ${author} and gives fewer`,
        )
      }
      return
    }
    if ('gap' in taken) {
      // The author was excluded while the answer was on its way.
      claimed.delete(author)
      return
    }
    if (taken.refused === 'bad-signature' && from > 1 && !whole.has(author)) {
      // Forged, or signed on top of another history than the one held here: the whole of it tells.
      whole.add(author)
      return
    }
    claimed.delete(author)
    if (taken.refused === 'excluded' || taken.refused === 'too-many-authors') {
      this.brought.refused.set(author, taken.refused)
      return
    }
    if (taken.refused === 'equivocation') {
      this.brought.caught.push(author)
      return
    }
    const code = taken.refused === 'bad-signature' ? 'bad-signature' : 'bad-answer'
    throw new PeerFault(
      code,
      `${this.#peer} sent contributions of ${author} that no honest peer holds: ${taken.refused}`,
    )
  }

  async #ask<T>(question: SyncQuestion, type: MessageType<T>): Promise<T> {
    const answer = await this.#transport.ask(this.#peer, SYNC_METHOD, syncQuestion.encode(question), {
      signal: this.#signal,
      timeout: QUESTION_TIMEOUT,
      maxAnswer: type.maxBytes,
    })
    const decoded = type.decode(answer)
    // Decoding can take milliseconds, so what is made of it has a turn of its own.
    await this.#transport.clock.sleep(0, this.#signal)
    return decoded
  }
}
