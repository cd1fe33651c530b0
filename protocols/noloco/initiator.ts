/** The initiator's side of an exchange: it proposes, and after the tensors were swapped it asks for the commit. See exchange.ts. */
import type { PeerName } from '../ports.ts'
import { askCommit, expectedFailure, RETRY, read } from './doubt.ts'
import {
  type Alone,
  type Appointment,
  alone,
  answerOf,
  type ExchangeModules,
  gone,
  type Meeting,
  type Offered,
  prepare,
  receive,
  refusalIn,
  tellWaiting,
  together,
} from './meeting.ts'
import { METHODS, proposal, proposalAnswer, QUESTION_TIMEOUT, readyAnswer, readyQuestion } from './messages.ts'
import type { Rounds } from './rounds.ts'

/** Pause before the proposal is repeated to a partner that is not in the round yet, ms. It has kept the question waiting already. */
const PROPOSE_AGAIN = 100

export class Initiator {
  readonly #modules: ExchangeModules
  readonly #rounds: Rounds

  constructor(modules: ExchangeModules, rounds: Rounds) {
    this.#modules = modules
    this.#rounds = rounds
  }

  /** Proposes until `deadline`, swaps tensors, prepares, and asks for the commit. */
  async meet(appointment: Appointment, deadline: number, signal: AbortSignal): Promise<Meeting> {
    const { onPhase } = this.#modules
    const { id, partner } = appointment
    await onPhase?.('proposing')
    const accepted = await this.#propose(appointment, deadline, signal)
    if ('outcome' in accepted) {
      return accepted
    }
    await onPhase?.('accepted')
    const received = await receive(this.#modules, appointment, accepted, signal)
    if ('outcome' in received) {
      return received
    }
    await prepare(this.#modules, appointment, { id, role: 'initiator', share: received.share })
    // From here on only the responder's answer, its leaving, or its silence ends the exchange.
    await onPhase?.('asking')
    const outcome = await askCommit(this.#modules, this.#rounds.bell, { id, partner }, signal)
    if (outcome === 'aborted') {
      return alone('partner-lost', { prepared: true })
    }
    await onPhase?.('committed')
    return together(appointment, received)
  }

  /** Proposes until the partner accepts, and returns its tensor's reference, or until it is clear that it will not. */
  async #propose(appointment: Appointment, deadline: number, signal: AbortSignal): Promise<Offered | Alone> {
    const { swarm, viewHash } = this.#modules
    const { bell } = this.#rounds
    const { id, round, step, partner, mine, reach } = appointment
    const question = proposal.encode({ id, round, step, view: viewHash(), reach, ...mine })
    for (;;) {
      const left = deadline - swarm.clock.now()
      const reason = gone(swarm, partner, left, signal)
      if (reason !== undefined) {
        return alone(reason)
      }
      try {
        const timeout = Math.min(QUESTION_TIMEOUT, left)
        const asked = swarm.ask(partner, METHODS.propose, question, { signal, timeout })
        const answer = await answerOf(this.#modules, appointment, asked)
        const said = read(swarm, partner, proposalAnswer, answer)
        if (said.status === 'accepted') {
          return { root: said.root, size: said.size, reach: said.reach }
        }
        const refusal = refusalIn(said)
        if (refusal !== undefined) {
          return refusal
        }
        tellWaiting(this.#modules, appointment)
        await bell.wait(swarm.clock, Math.min(PROPOSE_AGAIN, left), signal)
      } catch (error) {
        expectedFailure(error)
        await bell.wait(swarm.clock, Math.min(RETRY, left), signal)
      }
    }
  }

  /** A responder waits for this peer's proposal. */
  onReady(from: PeerName, bytes: Uint8Array): Uint8Array {
    const { swarm, viewHash } = this.#modules
    const { round } = read(swarm, from, readyQuestion, bytes)
    const place = this.#rounds.place(from, round)
    if (place.at === 'elsewhere') {
      return readyAnswer.encode({ status: 'mismatch', view: viewHash() })
    }
    if (place.at === 'ahead') {
      return readyAnswer.encode({ status: 'ahead', round: place.round })
    }
    return readyAnswer.encode({ status: 'coming' })
  }
}
