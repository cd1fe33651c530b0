/** This peer's replica: where it stands, and what changes it beside local training. */
import { fetchReplica, NO_REPLICA, type Progress } from '../replica/index.ts'
import type { StrategyModules } from '../strategy.ts'
import { replicaTasks, startTask, stepTask, type TensorOptions } from './tasks.ts'

export class OwnReplica {
  readonly #modules: StrategyModules
  readonly #tensor: TensorOptions
  readonly #onRound: (round: number) => void
  #progress: Progress

  /** `onRound` hears of every round that the replica is through with. */
  constructor(
    modules: StrategyModules,
    tensor: TensorOptions,
    progress: Progress | undefined,
    onRound: (round: number) => void,
  ) {
    this.#modules = modules
    this.#tensor = tensor
    this.#progress = progress ?? NO_REPLICA
    this.#onRound = onRound
  }

  get progress(): Readonly<Progress> {
    return this.#progress
  }

  /** Begins with the run's common parameters, which the learner holds already. */
  async start(signal: AbortSignal): Promise<void> {
    const { learner, report } = this.#modules
    await learner.compute(startTask, null, signal)
    this.#progress = { ready: true, round: 0, roundStep: learner.step() }
    report({ kind: 'joined', step: learner.step(), round: 0, bytes: 0, milliseconds: 0 })
  }

  /** Takes over the replica of another peer. */
  async fetch(signal: AbortSignal): Promise<void> {
    const { report } = this.#modules
    const fetched = await fetchReplica(this.#modules, replicaTasks, {
      signal,
      onWaiting: (words, peer) =>
        report({ kind: 'waiting', what: 'replica', for: words, ...(peer === undefined ? {} : { peer }) }),
      onRejected: (peer, reason) => report({ kind: 'rejected', peer, what: 'replica', reason }),
    })
    this.#through(fetched.round, fetched.step)
    report({ kind: 'joined', ...fetched })
  }

  /**
   * The outer step, with that share of the way to the partner's message (0: alone), and the end of the round. It is not aborted: it takes
   * milliseconds and has to happen once.
   */
  async step(round: number, step: number, share: number): Promise<void> {
    await this.#modules.learner.compute(stepTask, { ...this.#tensor, share })
    this.#through(round, step)
  }

  #through(round: number, step: number): void {
    this.#progress = { ready: true, round, roundStep: step }
    this.#onRound(round)
  }
}
