/** The responder's side of an exchange: it waits for the proposal, and its record decides whether the exchange happened. See exchange.ts. */
import { StarlingError } from '../errors.ts'
import type { PeerName } from '../ports.ts'
import { expectedFailure, RETRY, read } from './doubt.ts'
import {
  type Alone,
  type Appointment,
  alone,
  answerOf,
  type ExchangeModules,
  gone,
  type Meeting,
  prepare,
  receive,
  refusalIn,
  type Session,
  tellWaiting,
  together,
} from './meeting.ts'
import {
  exchangeQuestion,
  METHODS,
  outcomeAnswer,
  proposal,
  proposalAnswer,
  QUESTION_TIMEOUT,
  readyAnswer,
  readyQuestion,
} from './messages.ts'
import type { Rounds } from './rounds.ts'

/** Pause between two announcements of a waiting responder, ms. */
const READY_EVERY = 1_000

/** Least time that a prepared responder waits for the commit, ms: three lost questions. At least four times what its own transfer took. */
const COMMIT_WAIT = 20_000

export class Responder {
  readonly #modules: ExchangeModules
  readonly #rounds: Rounds

  constructor(modules: ExchangeModules, rounds: Rounds) {
    this.#modules = modules
    this.#rounds = rounds
  }

  /** Waits until `deadline` for the proposal, swaps tensors, prepares, and waits for the question that makes it decide. */
  async meet(appointment: Appointment, deadline: number, signal: AbortSignal): Promise<Meeting> {
    const { swarm, onPhase } = this.#modules
    const session = await this.#proposed(appointment, deadline, signal)
    if ('outcome' in session) {
      return session
    }
    try {
      await onPhase?.('accepted')
      const started = swarm.clock.now()
      const received = await receive(this.#modules, appointment, session.theirs, signal)
      if ('outcome' in received) {
        return received
      }
      const transfer = swarm.clock.now() - started
      await prepare(this.#modules, appointment, {
        id: session.id,
        role: 'responder',
        share: received.share,
      })
      this.#setState(session, 'ready')
      const lost = await this.#decided(appointment, session, Math.max(COMMIT_WAIT, 4 * transfer), signal)
      if (lost !== undefined) {
        return lost
      }
      await onPhase?.('committed')
      return together(appointment, received)
    } finally {
      if (session.state !== 'committed') {
        this.#setState(session, 'aborted')
      }
    }
  }

  /** Waits for the proposal, and tells the initiator so now and then. */
  async #proposed(appointment: Appointment, deadline: number, signal: AbortSignal): Promise<Session | Alone> {
    const { swarm } = this.#modules
    let nextCall = swarm.clock.now()
    while (appointment.session === undefined) {
      const left = deadline - swarm.clock.now()
      const reason = gone(swarm, appointment.partner, left, signal)
      if (reason !== undefined) {
        return alone(reason)
      }
      if (appointment.refusal !== undefined) {
        return appointment.refusal
      }
      if (swarm.clock.now() >= nextCall) {
        nextCall = swarm.clock.now() + READY_EVERY
        void this.#call(appointment, signal)
      }
      await this.#rounds.bell.wait(swarm.clock, Math.min(left, nextCall - swarm.clock.now()), signal)
    }
    return appointment.session
  }

  /** Tells the initiator that this peer waits for it, and learns whether that is in vain. */
  async #call(appointment: Appointment, signal: AbortSignal): Promise<void> {
    const { swarm } = this.#modules
    const { partner, round } = appointment
    try {
      const options = { signal, timeout: QUESTION_TIMEOUT }
      const asked = swarm.ask(partner, METHODS.ready, readyQuestion.encode({ round }), options)
      const answer = await answerOf(this.#modules, appointment, asked)
      const refusal = refusalIn(read(swarm, partner, readyAnswer, answer))
      if (refusal === undefined) {
        tellWaiting(this.#modules, appointment)
      } else {
        appointment.refusal = refusal
      }
    } catch (error) {
      expectedFailure(error)
    }
    this.#rounds.bell.ring()
  }

  /** Waits until the decision is on disk; returns the reason to go on alone when `wait` ms pass, or the initiator goes, without its question. */
  async #decided(
    { round, partner }: Appointment,
    session: Session,
    wait: number,
    signal: AbortSignal,
  ): Promise<Alone | undefined> {
    const { swarm } = this.#modules
    const deadline = swarm.clock.now() + wait
    while (session.state === 'ready' || session.state === 'deciding') {
      const left = deadline - swarm.clock.now()
      if (session.state === 'ready' && gone(swarm, partner, left, signal) !== undefined) {
        return alone(signal.aborted ? 'aborted' : 'partner-lost', { prepared: true })
      }
      // A decision that is being written is waited for, whatever the time.
      await this.#rounds.bell.wait(swarm.clock, session.state === 'ready' ? Math.min(left, READY_EVERY) : RETRY)
    }
    if (session.state !== 'committed') {
      throw new StarlingError('record-failed', 'the decision about an exchange could not be written', {
        round,
        partner,
      })
    }
    return undefined
  }

  /** The initiator's proposal; answered when this peer is in the round as well, or 'later'. */
  async onPropose(from: PeerName, bytes: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const { swarm, viewHash } = this.#modules
    const { id, round, root, size, reach } = read(swarm, from, proposal, bytes)
    const since = swarm.clock.now()
    do {
      const place = this.#rounds.place(from, round)
      if (place.at === 'here') {
        const { appointment } = place
        // The same question again, when the answer got lost, gets the same answer.
        if (appointment.session === undefined || appointment.session.id === id) {
          appointment.session ??= { id, theirs: { root, size, reach }, state: 'checking' }
          this.#rounds.bell.ring()
          const { step, mine } = appointment
          return proposalAnswer.encode({ status: 'accepted', step, reach: appointment.reach, ...mine })
        }
        return proposalAnswer.encode({ status: 'ahead', round })
      }
      if (place.at === 'elsewhere') {
        return proposalAnswer.encode({ status: 'mismatch', view: viewHash() })
      }
      if (place.at === 'ahead') {
        return proposalAnswer.encode({ status: 'ahead', round: place.round })
      }
    } while (await this.#rounds.park(since, signal))
    return proposalAnswer.encode({ status: 'later' })
  }

  /** The initiator's question that makes this peer decide, and tells the decision again. */
  async onCommit(from: PeerName, bytes: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const { swarm, ledger } = this.#modules
    const { id } = read(swarm, from, exchangeQuestion, bytes)
    const since = swarm.clock.now()
    do {
      const session = this.#sessionWith(from, id)
      if (session?.state === 'ready') {
        await this.#decide(session)
      }
      const outcome = ledger.outcome(id)
      if (outcome !== undefined) {
        return outcomeAnswer.encode({ outcome })
      }
      if (this.#rounds.unresolved?.id === id) {
        return outcomeAnswer.encode({ outcome: 'pending' })
      }
      if (session === undefined || session.state === 'aborted') {
        return outcomeAnswer.encode({ outcome: 'aborted' })
      }
    } while (await this.#rounds.park(since, signal))
    return outcomeAnswer.encode({ outcome: 'pending' })
  }

  #sessionWith(from: PeerName, id: string): Session | undefined {
    const { current } = this.#rounds
    return current?.partner === from && current.session?.id === id ? current.session : undefined
  }

  /** The decision: from the moment the record is on disk the exchange has happened. */
  async #decide(session: Session): Promise<void> {
    this.#setState(session, 'deciding')
    try {
      await this.#modules.onPhase?.('deciding')
      await this.#modules.ledger.decide(session.id, 'committed')
      this.#setState(session, 'committed')
    } catch (error) {
      this.#setState(session, 'aborted')
      throw error
    }
  }

  #setState(session: Session, state: Session['state']): void {
    session.state = state
    this.#rounds.bell.ring()
  }
}
