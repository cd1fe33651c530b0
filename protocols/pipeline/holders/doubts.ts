/** Whether a peer still lives, asked when a connection to it closed or a data peer could not use it. */
import { StarlingError } from '../../errors.ts'
import type { PeerName, Swarm } from '../../ports.ts'
import { read } from './copies.ts'
import { aliveAnswer, aliveQuestion, METHODS, QUICK_TIMEOUT } from './messages.ts'
import type { StageView } from './view.ts'

/** Peers asked at once; the others are when their next statement does not come. */
const MAX_ASKED = 64

/** A peer that answered is not asked again for so long, ms, whatever others say of it. */
const TRUSTED = 1_000

export class Doubts {
  readonly #swarm: Swarm
  readonly #view: StageView
  readonly #onSettled: (peer: PeerName, lives: boolean) => void
  /** Peers being asked; at most {@link MAX_ASKED}. */
  readonly #asked = new Set<PeerName>()
  /** When a peer answered; at most one for each peer of the view, dropped when it is asked again. */
  readonly #answeredAt = new Map<PeerName, number>()

  constructor(swarm: Swarm, view: StageView, onSettled: (peer: PeerName, lives: boolean) => void) {
    this.#swarm = swarm
    this.#view = view
    this.#onSettled = onSettled
  }

  /** Asks a peer whether it lives. */
  async ask(peer: PeerName, signal: AbortSignal): Promise<void> {
    const { clock, self } = this.#swarm
    const statement = this.#view.statement(peer)
    const trusted = clock.now() - (this.#answeredAt.get(peer) ?? Number.NEGATIVE_INFINITY) < TRUSTED
    if (peer === self || statement === undefined || trusted || this.#asked.has(peer) || this.#asked.size >= MAX_ASKED) {
      return
    }
    this.#asked.add(peer)
    this.#answeredAt.delete(peer)
    this.#view.doubt(peer)
    let lives = false
    try {
      const answer = await this.#swarm.ask(peer, METHODS.alive, aliveQuestion.encode({}), {
        signal,
        timeout: QUICK_TIMEOUT,
      })
      // A process that was started since holds nothing of what its predecessor did.
      lives = read(this.#swarm, peer, aliveAnswer, answer).incarnation === statement.incarnation
    } catch (error) {
      if (!(error instanceof StarlingError)) {
        throw error
      }
    } finally {
      this.#asked.delete(peer)
    }
    if (!signal.aborted) {
      if (lives) {
        this.#answeredAt.set(peer, clock.now())
      }
      if (this.#view.statement(peer)?.incarnation === statement.incarnation) {
        this.#view.settle(peer, lives, clock.now())
      }
      this.#onSettled(peer, lives)
    }
  }
}
