/** What was mixed, summed up: turns come many times a second, and one event a second tells as much. */
import type { Clock, PeerName } from '../ports.ts'
import type { Report } from '../strategy.ts'
import { GROUP, type MixedGroup } from './tasks.ts'

/** Time between two events, ms. */
const TOLD_EVERY = 1_000

export class Tally {
  readonly #clock: Clock
  readonly #report: Report
  #toldAt = Number.NEGATIVE_INFINITY
  #received = 0
  #mixes = 0
  #messages = 0
  #corrected = 0
  #bytesSent = 0
  #codingError = 0
  #disagreement = 0
  /** Peers that were left out since the last event, with how often; at most {@link GROUP}. */
  #leftOut = new Map<PeerName, number>()

  constructor(clock: Clock, report: Report) {
    this.#clock = clock
    this.#report = report
  }

  /** A fragment was published. */
  sent(codingError: number, bytes: number): void {
    this.#codingError = codingError
    this.#bytesSent += bytes
  }

  /** A group was mixed. */
  mixed({ messages, disagreement, corrected }: MixedGroup): void {
    this.#mixes++
    this.#disagreement = disagreement
    this.#corrected += corrected.length
    for (const { peer, coefficient } of messages) {
      if (coefficient > 0) {
        this.#messages++
      } else if (this.#leftOut.has(peer) || this.#leftOut.size < GROUP) {
        this.#leftOut.set(peer, (this.#leftOut.get(peer) ?? 0) + 1)
      }
    }
  }

  /** Reports what there is, if that is due. `received` counts from the start. */
  tell(round: number, received: number, when: 'if-due' | 'now' = 'if-due'): void {
    const now = this.#clock.now()
    if (this.#mixes === 0 || (when === 'if-due' && now - this.#toldAt < TOLD_EVERY)) {
      return
    }
    this.#toldAt = now
    this.#report({
      kind: 'mixed',
      round,
      groups: this.#mixes,
      fragments: this.#messages,
      leftOut: [...this.#leftOut].map(([peer, times]) => ({ peer, times })),
      corrected: this.#corrected,
      disagreement: this.#disagreement,
      codingError: this.#codingError,
      bytesSent: this.#bytesSent,
      bytesReceived: received - this.#received,
    })
    this.#received = received
    this.#mixes = 0
    this.#messages = 0
    this.#corrected = 0
    this.#bytesSent = 0
    this.#leftOut = new Map()
  }
}
