/** Whether a peer still lives, asked when a connection to it closed or a data peer could not use it. */
import { StarlingError } from '../../errors.ts'
import type { PeerName, Swarm } from '../../ports.ts'
import { read } from './copies.ts'
import { aliveAnswer, aliveQuestion, METHODS, QUICK_TIMEOUT } from './messages.ts'
import type { StageView } from './view.ts'

/** Peers asked at once; the others are when their next statement does not come. */
const MAX_ASKED = 64

/** Peers remembered that were asked. */
const MAX_ANSWERED = 1_024

/** A peer that answered is not asked again for so long, ms, whatever others say of it; nor is one that is only late, whatever came of it. */
const TRUSTED = 1_000

export class Doubts {
  readonly #swarm: Swarm
  readonly #view: StageView
  readonly #onSettled: (peer: PeerName, lives: boolean) => void
  /** Peers being asked; at most {@link MAX_ASKED}. */
  readonly #asking = new Set<PeerName>()
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
    if (
      peer === self ||
      statement === undefined ||
      lately ||
      this.#asking.has(peer) ||
      this.#asking.size >= MAX_ASKED
    ) {
      return
    }
    this.#asking.add(peer)
    if (!late) {
      this.#view.doubt(peer)
    }
    const lives = await this.#lives(peer, statement.incarnation, signal)
    this.#asking.delete(peer)
    if (signal.aborted) {
      return
    }
    this.#remember(peer, lives)
    if ((lives || !late) && this.#view.statement(peer)?.incarnation === statement.incarnation) {
      this.#view.settle(peer, lives, clock.now())
      this.#onSettled(peer, lives)
    }
  }

  /** Whether that process of a peer answers. One that was started since holds nothing of what its predecessor did. */
  async #lives(peer: PeerName, incarnation: number, signal: AbortSignal): Promise<boolean> {
    try {
      const options = { signal, timeout: QUICK_TIMEOUT }
      const answer = await this.#swarm.ask(peer, METHODS.alive, aliveQuestion.encode({}), options)
      return read(this.#swarm, peer, aliveAnswer, answer).incarnation === incarnation
    } catch (error) {
      if (!(error instanceof StarlingError)) {
        throw error
      }
      return false
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
