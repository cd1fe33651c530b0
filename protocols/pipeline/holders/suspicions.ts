/** Holders that this peer, as a data peer, could not use: for how long they are left out, and of which of them the others are told. */
import type { PeerName } from '../../ports.ts'
import type { LossReason } from '../types.ts'
import { MAX_LOST } from './messages.ts'

/** Holders remembered; the oldest goes first. */
const MAX_SUSPECTS = 256

/** How much a failure counts. A refusal may come of a view that is a moment old. */
const STRIKES: Readonly<Record<LossReason, number>> = { refused: 1, disconnected: 1, silent: 2 }

/** From so many strikes on the others are told, who then look for another holder. */
const TOLD = 2

/** How long a holder is left out, ms: after the first strike, and from {@link TOLD} strikes on, doubled with each more. */
const FIRST = 1_000
const SEVERAL = 15_000
const LONGEST = 600_000

/** Strikes are forgotten when nothing was added for so long after they ended, ms. */
const MEMORY = 600_000

interface Suspect {
  part: number
  peer: PeerName
  strikes: number
  until: number
}

export class Suspicions {
  /** By part and peer, oldest first; at most {@link MAX_SUSPECTS}. */
  readonly #suspects = new Map<string, Suspect>()

  /** Adds a failure. */
  add(part: number, peer: PeerName, reason: LossReason, now: number): void {
    const key = `${part} ${peer}`
    const known = this.#suspects.get(key)
    const strikes = STRIKES[reason] + (known === undefined || now - known.until > MEMORY ? 0 : known.strikes)
    const time = strikes < TOLD ? FIRST : Math.min(LONGEST, SEVERAL * 2 ** (strikes - TOLD))
    this.#suspects.delete(key)
    this.#suspects.set(key, { part, peer, strikes, until: now + time })
    const oldest = this.#suspects.keys().next().value
    if (this.#suspects.size > MAX_SUSPECTS && oldest !== undefined) {
      this.#suspects.delete(oldest)
    }
  }

  /** Forgets a peer: it is another process now. */
  forget(peer: PeerName): void {
    for (const [key, suspect] of this.#suspects) {
      if (suspect.peer === peer) {
        this.#suspects.delete(key)
      }
    }
  }

  /** Whether that holder is left out now. */
  has(part: number, peer: PeerName, now: number): boolean {
    const suspect = this.#suspects.get(`${part} ${peer}`)
    return suspect !== undefined && suspect.until > now
  }

  /** Failures of that holder that are not forgotten. */
  strikes(part: number, peer: PeerName, now: number): number {
    const suspect = this.#suspects.get(`${part} ${peer}`)
    return suspect === undefined || now - suspect.until > MEMORY ? 0 : suspect.strikes
  }

  /** What the others are told, the latest {@link MAX_LOST}. */
  told(now: number): { part: number; peer: PeerName }[] {
    return [...this.#suspects.values()]
      .filter(({ strikes, until }) => strikes >= TOLD && until > now)
      .slice(-MAX_LOST)
      .map(({ part, peer }) => ({ part, peer }))
  }
}
