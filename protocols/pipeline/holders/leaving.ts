/** Parts with more holders than wanted: the surplus one leaves, when those who are to stay say that they do. */
import { StarlingError } from '../../errors.ts'
import type { PeerName } from '../../ports.ts'
import type { Leave } from './assignment.ts'
import { read } from './copies.ts'
import { leaveAnswer, leaveQuestion, METHODS, QUICK_TIMEOUT } from './messages.ts'
import type { OwnParts } from './own.ts'
import type { HoldersConfig } from './types.ts'
import { AHEAD, type StageView } from './view.ts'

/** Others must have been ready so long, ms, before this peer leaves a part to them: by then a data peer has found out whether they work. */
const PATIENCE = 5_000

export interface LeavingContext {
  config: HoldersConfig
  view: StageView
  own: OwnParts
  say(): void
}

export class Leaving {
  readonly #context: LeavingContext
  /** Parts for which those who are to stay are being asked; at most as many as this peer holds. */
  readonly #asking = new Set<number>()

  constructor(context: LeavingContext) {
    this.#context = context
  }

  /** Begins to answer; returns how to stop that. */
  start(): () => void {
    const { own, config } = this.#context
    const { swarm } = config.modules
    return swarm.answer(METHODS.leave, (from, question) => {
      const { part } = read(swarm, from, leaveQuestion, question)
      // Two that would both leave must not both hear that the other stays.
      return leaveAnswer.encode({ stays: own.ready(part) !== undefined && !this.#asking.has(part) })
    })
  }

  /** Leaves a part of which this peer is the surplus holder, where that is safe. */
  async leave({ part, stays }: Leave, signal: AbortSignal): Promise<void> {
    const { config, view, own, say } = this.#context
    const { swarm, report } = config.modules
    const now = swarm.clock.now()
    const proven = new Set(
      view
        .holders(part, now)
        .filter(({ peer, since }) => now - since >= PATIENCE && !view.lostLately(part, peer, now))
        // A data peer that is where no stage is drives none of them.
        .filter(({ hold }) => part > 0 || hold.step <= (view.stageStep(now) ?? 0) + AHEAD)
        .map(({ peer }) => peer),
    )
    if (this.#asking.has(part) || own.ready(part) === undefined || !stays.every((peer) => proven.has(peer))) {
      return
    }
    this.#asking.add(part)
    try {
      const answers = await Promise.all(stays.map((peer) => this.#ask(peer, part, signal)))
      const held = own.ready(part)
      if (answers.every((stay) => stay) && held !== undefined && !signal.aborted) {
        const { step } = held.course
        own.drop(part)
        report({ kind: 'stage-left', stage: part, ...(stays[0] === undefined ? {} : { to: stays[0] }), step })
        say()
      }
    } finally {
      this.#asking.delete(part)
    }
  }

  async #ask(peer: PeerName, part: number, signal: AbortSignal): Promise<boolean> {
    const { swarm } = this.#context.config.modules
    try {
      const question = leaveQuestion.encode({ part })
      const answer = await swarm.ask(peer, METHODS.leave, question, { signal, timeout: QUICK_TIMEOUT })
      return read(swarm, peer, leaveAnswer, answer).stays
    } catch (error) {
      if (!(error instanceof StarlingError)) {
        throw error
      }
      return false
    }
  }
}
