/**
 * The exchange of one round between two peers: both take the outer step together, or neither does. The peer whose name sorts first is
 * the initiator, the other the responder.
 *
 *     initiator                                      responder
 *     ---------                                      ---------
 *     encode, offer                                  encode, offer
 *     proposing    -- propose (round, hash) ------>  waiting
 *                  <----------- accepted (hash) ---
 *     checking     pulls and inspects                checking    pulls and inspects
 *     prepared     state before the step on disk     prepared    state before the step on disk
 *     asking       -- commit ---------------------->
 *                                                    committed   decision on disk; from here on it holds
 *                  <-------------------- committed -
 *     committed    outcome on disk                   takes the step
 *     takes the step
 *
 * The responder's record decides. It may give up at any moment before it, and an exchange that it does not know counts as given up. The
 * initiator may give up until it asks for the commit; from then on it is in doubt and asks until it is answered, or until the responder has left its
 * view or kept it waiting for too long, when it gives up, on record, and that choice stands: a responder that comes back with a commit on record asks before it believes it.
 *
 * What a kill leads to, by phase (the restarted peer first reads its ledger, see begin.ts):
 *
 *     initiator killed   before prepared     it comes back before the round; the responder waits, gives up:             neither
 *                        prepared, asking    it comes back in doubt and asks; the responder's answer, or, given up,     both or neither
 *                                            'aborted' stands
 *                        committed           outcome or answer on record; takes the step again from the kept state:     both
 *     responder killed   before prepared     it comes back before the round; the initiator's question finds no          neither
 *                                            such exchange, or the responder left: gives up
 *                        prepared            no decision on record: given up; the same for the initiator                neither
 *                        committed           the initiator is in doubt and asks until the responder is back; had it     both or neither
 *                                            given up meanwhile, the responder asks, finds that out and gives up too
 *
 * Nothing received is written anywhere but into the inbox before the tensor was checked (hash of every chunk, size, finite, scale, distance).
 */

import { sha256Hex } from '../hash.ts'
import type { PeerName } from '../ports.ts'
import { askCommit, partnerGaveUp, RESOLVE_WAIT, read } from './doubt.ts'
import { Initiator } from './initiator.ts'
import type { Outcome, Prepared, PreparedExchange } from './ledger.ts'
import type { Appointment, ExchangeModules, Meeting } from './meeting.ts'
import { exchangeQuestion, METHODS, outcomeAnswer } from './messages.ts'
import { Responder } from './responder.ts'
import { Rounds } from './rounds.ts'
import { encodeTask } from './tasks.ts'

/** Time for which the tensor of a round is on offer, ms; it is withdrawn when the round is over. */
const OFFER_TTL = 3_600_000

/** Both sides of the exchange for one peer. See the head of this file. */
export class Exchange {
  readonly #modules: ExchangeModules
  readonly #rounds: Rounds
  readonly #initiator: Initiator
  readonly #responder: Responder
  readonly #stops: (() => void)[] = []

  constructor(modules: ExchangeModules) {
    this.#modules = modules
    this.#rounds = new Rounds(modules.swarm, modules.partnerOf)
    this.#initiator = new Initiator(modules, this.#rounds)
    this.#responder = new Responder(modules, this.#rounds)
  }

  /** Begins to answer. `unresolved` is an exchange that an earlier process left undecided. */
  start(completed: number, unresolved?: PreparedExchange): void {
    const { swarm } = this.#modules
    this.#rounds.complete(completed)
    this.#rounds.unresolved = unresolved
    this.#stops.push(
      swarm.answer(METHODS.propose, (from, question, signal) => this.#responder.onPropose(from, question, signal)),
      swarm.answer(METHODS.ready, (from, question) => this.#initiator.onReady(from, question)),
      swarm.answer(METHODS.commit, (from, question, signal) => this.#responder.onCommit(from, question, signal)),
      swarm.answer(METHODS.outcome, (from, question) => this.#onOutcome(from, question)),
    )
  }

  stop(): void {
    for (const stop of this.#stops.splice(0).reverse()) {
      stop()
    }
    this.#rounds.bell.ring()
  }

  /** This peer is through with `round`. */
  completed(round: number): void {
    this.#rounds.complete(round)
  }

  /** The highest round in which a peer waits for this one by both their reckonings, above the completed ones. */
  invitation(): number | undefined {
    return this.#rounds.invitation()
  }

  /**
   * Meets `partner` in `round`, for which it waits at most `patience` ms, and exchanges tensors. 'committed' means that the partner takes
   * the step together with us; 'alone' that it does not. The caller takes the step. Throws StarlingError 'in-doubt' when it was
   * aborted while the outcome could not be found out (the next start finds it out), and 'diverged'.
   */
  async meet(round: number, step: number, partner: PeerName, patience: number, signal: AbortSignal): Promise<Meeting> {
    const { swarm, learner, blobs, tensor, onPhase } = this.#modules
    const { codingError, progress } = await learner.compute(encodeTask, tensor, signal)
    const mine = await blobs.offer(learner.bytes('outbox'), { ttl: OFFER_TTL, signal })
    const id = sha256Hex(
      JSON.stringify([swarm.run, swarm.self, partner, round, step, mine.root, swarm.clock.now()]),
    ).slice(0, 32)
    const reach = this.#modules.reach.of(progress)
    const appointment: Appointment = { round, step, partner, mine, codingError, reach, id, told: false }
    this.#rounds.current = appointment
    try {
      await onPhase?.('encoded')
      const side = swarm.self < partner ? this.#initiator : this.#responder
      return await side.meet(appointment, swarm.clock.now() + patience, signal)
    } finally {
      this.#rounds.current = undefined
      blobs.withdraw(mine.root)
    }
  }

  /** Finds out how an exchange ended that an earlier process of this peer left prepared. */
  async resolve(prepared: Prepared, signal: AbortSignal): Promise<Outcome> {
    const { exchange } = prepared
    if (exchange === undefined) {
      return 'aborted'
    }
    try {
      return exchange.role === 'initiator'
        ? await this.#resolveInitiated(exchange, signal)
        : await this.#resolveAnswered(exchange, signal)
    } finally {
      this.#rounds.unresolved = undefined
    }
  }

  /** The initiator may have asked for the commit without hearing the answer. */
  async #resolveInitiated(exchange: PreparedExchange, signal: AbortSignal): Promise<Outcome> {
    const known = this.#modules.ledger.outcome(exchange.id)
    return known ?? (await askCommit(this.#modules, this.#rounds.bell, exchange, signal, RESOLVE_WAIT))
  }

  /** The responder's record decides, unless the initiator gave up while this peer was away. */
  async #resolveAnswered(exchange: PreparedExchange, signal: AbortSignal): Promise<Outcome> {
    const { ledger } = this.#modules
    const known = ledger.outcome(exchange.id)
    const stands = known === 'committed' && !(await partnerGaveUp(this.#modules, this.#rounds.bell, exchange, signal))
    const outcome = stands ? 'committed' : 'aborted'
    if (outcome !== known) {
      await ledger.decide(exchange.id, outcome)
    }
    return outcome
  }

  #onOutcome(from: PeerName, bytes: Uint8Array): Uint8Array {
    const { swarm, ledger } = this.#modules
    const { id } = read(swarm, from, exchangeQuestion, bytes)
    const undecided = this.#rounds.current?.id === id || this.#rounds.unresolved?.id === id
    return outcomeAnswer.encode({ outcome: ledger.outcome(id) ?? (undecided ? 'pending' : 'unknown') })
  }
}
