/** Looking at the validation data, every so many steps and at the end. */
import type { StrategyModules } from './strategy.ts'

export class Evaluation {
  readonly #modules: StrategyModules
  /** Step and round of the latest one. */
  #at = Number.NEGATIVE_INFINITY
  #round = Number.NEGATIVE_INFINITY

  constructor(modules: StrategyModules) {
    this.#modules = modules
  }

  /** Evaluates the replica, which is through with `round`, if that is due by now, or in any case. Not twice at one step of one round. */
  async look(round: number, when: 'if-due' | 'now', signal: AbortSignal): Promise<void> {
    const { learner, swarm, report } = this.#modules
    const step = learner.step()
    if ((step === this.#at && round === this.#round) || signal.aborted || (when === 'if-due' && !this.#due(step))) {
      return
    }
    this.#at = step
    this.#round = round
    const { loss, accuracy } = await learner.evaluate({ signal })
    report({ kind: 'evaluation', step, round, loss, ...(accuracy === undefined ? {} : { accuracy }) })
    swarm.announce({ validationLoss: loss })
  }

  #due(step: number): boolean {
    const { steps, evaluateEvery } = this.#modules.training
    return step >= steps || Math.floor(step / evaluateEvery) > Math.floor(this.#at / evaluateEvery)
  }
}
