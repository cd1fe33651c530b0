/**
 * Whether a peer still lives, asked when a connection to it closed, a data peer could not use it, or it is late to speak. It counts as gone where it has not answered in the
 * time that its answers take, and as alive again when it answers after all.
 */
import { StarlingError } from '../../errors.ts'
import type { PeerName, Swarm } from '../../ports.ts'
import { LONGEST_ANSWER } from './answer-times.ts'
import { read } from './copies.ts'
import { aliveAnswer, aliveQuestion, METHODS } from './messages.ts'
import type { StageView } from './view.ts'

/** Questions under way; other peers are asked when their next statement does not come. */
const MAX_ASKED = 64

/** Peers remembered that were asked. */
const MAX_ANSWERED = 1_024

/** A peer that answered is not asked again for so long, ms, whatever others say of it; nor is one that is only late, whatever came of it. */
const TRUSTED = 1_000

export class Doubts {
  readonly #swarm: Swarm
  readonly #view: StageView
  readonly #onSettled: (peer: PeerName, lives: boolean) => void
  /** Peers in doubt, until it is settled; and peers that are only late, until the question has ended. With {@link #asked} at most {@link MAX_ASKED}. */
  readonly #doubted = new Set<PeerName>()
  readonly #late = new Set<PeerName>()
  /** Questions under way. */
  #asked = 0
  /** How the latest question to a peer ended, oldest first; at most {@link MAX_ANSWERED}. */
  readonly #asks = new Map<PeerName, { at: number; lives: boolean }>()

  constructor(swarm: Swarm, view: StageView, onSettled: (peer: PeerName, lives: boolean) => void) {
    this.#swarm = swarm
    this.#view = view
    this.#onSettled = onSettled
  }

  /**
   * Asks a peer whether it lives. One in doubt is not used meanwhile, and counts as gone without an answer; one that is only late to speak (`late`) is used until its time is
   * over.
   */
  async ask(peer: PeerName, signal: AbortSignal, late = false): Promise<void> {
    const { clock, self } = this.#swarm
    const statement = this.#view.statement(peer)
    const last = this.#asks.get(peer)
    const lately = last !== undefined && clock.now() - last.at < TRUSTED && (late || last.lives)
    const asking = late ? this.#late : this.#doubted
    if (peer === self || statement === undefined || lately || asking.has(peer) || this.#asked >= MAX_ASKED) {
      return
    }
    asking.add(peer)
    const { incarnation } = statement
    const answered = this.#lives(peer, incarnation, signal)
    if (!late) {
      this.#view.doubt(peer)
    }
    const inTime = late ? await answered : await this.#inTime(peer, answered, signal)
    asking.delete(peer)
    if (!late && !inTime && !signal.aborted) {
      this.#settle(peer, incarnation, false)
    }
    const lives = await answered
    if (signal.aborted) {
      return
    }
    if (lives) {
      this.#settle(peer, incarnation, true)
    } else {
      this.#remember(peer, false)
    }
  }

  #settle(peer: PeerName, incarnation: number, lives: boolean): void {
    this.#remember(peer, lives)
    if (this.#view.statement(peer)?.incarnation === incarnation) {
      this.#view.settle(peer, lives, this.#swarm.clock.now())
      this.#onSettled(peer, lives)
    }
  }

  /** What was answered, or false where that takes longer than it does usually. */
  async #inTime(peer: PeerName, answered: Promise<boolean>, signal: AbortSignal): Promise<boolean> {
    const { clock } = this.#swarm
    const over = new AbortController()
    const patience = this.#view.answers.patience(peer, clock.now())
    const late = clock.sleep(patience, AbortSignal.any([signal, over.signal])).then(
      () => false,
      () => false,
    )
    try {
      return await Promise.race([answered, late])
    } finally {
      over.abort(SETTLED)
    }
  }

  /** Whether that process of a peer answers. One that was started since holds nothing of what its predecessor did. */
  async #lives(peer: PeerName, incarnation: number, signal: AbortSignal): Promise<boolean> {
    const { clock } = this.#swarm
    const asked = clock.now()
    this.#asked++
    try {
      const options = { signal, timeout: LONGEST_ANSWER }
      const answer = await this.#swarm.ask(peer, METHODS.alive, aliveQuestion.encode({}), options)
      const lives = read(this.#swarm, peer, aliveAnswer, answer).incarnation === incarnation
      this.#view.answers.took(peer, clock.now() - asked, clock.now())
      return lives
    } catch (error) {
      if (!(error instanceof StarlingError)) {
        throw error
      }
      return false
    } finally {
      this.#asked--
    }
  }

  #remember(peer: PeerName, lives: boolean): void {
    this.#asks.delete(peer)
    this.#asks.set(peer, { at: this.#swarm.clock.now(), lives })
    const oldest = this.#asks.keys().next().value
    if (this.#asks.size > MAX_ANSWERED && oldest !== undefined) {
      this.#asks.delete(oldest)
    }
  }
}

/** Reason of our own: the usual one is an error with a stack, which costs more than the wait. */
const SETTLED = 'settled'
