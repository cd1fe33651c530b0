/** The validation data, seen through all stages in their order; and a glance at some of it, which tells what a loss and its recovery did. */
import { StarlingError } from '../errors.ts'
import type { StrategyModules } from '../strategy.ts'
import { PathFailure, type Steps, type TripResult } from './flow/index.ts'
import { type PathGenerator, sequentialPaths } from './paths/index.ts'
import type { Holders } from './types.ts'

/** Parts of the validation data that a glance takes, and how often there is one while all is well, ms. */
const GLANCE_PARTS = 2
const GLANCE_EVERY = 5_000

/** A stage that was lost and has not been seen working since. */
interface Loss {
  since: number
  before: number
}

/** What a data peer sees of the validation data. */
export interface Seen {
  step: number
  loss: number
  accuracy?: number
}

export class PipelineEvaluation {
  readonly #modules: StrategyModules
  readonly #holders: Holders
  readonly #steps: () => Steps
  readonly #paths: PathGenerator
  readonly #parts: () => Promise<number>
  /** The latest look at all of it. */
  latest: Seen | undefined
  #glance: { at: number; loss: number } | undefined
  /** By stage. */
  readonly #losses = new Map<number, Loss>()

  constructor(
    modules: StrategyModules,
    holders: Holders,
    stages: number,
    parts: () => Promise<number>,
    steps: () => Steps,
  ) {
    this.#modules = modules
    this.#holders = holders
    this.#steps = steps
    this.#parts = parts
    this.#paths = sequentialPaths(stages)
  }

  /** Looks at all of the validation data where that is due at this step, or in any case. Throws as {@link Steps.look}. */
  async look(step: number, when: 'if-due' | 'now', signal: AbortSignal): Promise<void> {
    const { training, report, swarm } = this.#modules
    const { steps, evaluateEvery } = training
    const last = this.latest?.step
    const due =
      last === undefined || step >= steps || Math.floor(step / evaluateEvery) > Math.floor(last / evaluateEvery)
    if (last === step || (when === 'if-due' && !due)) {
      return
    }
    const { loss, accuracy } = this.#mean(await this.#see(await this.#parts(), signal))
    this.latest = { step, loss, ...(accuracy === undefined ? {} : { accuracy }) }
    report({ kind: 'evaluation', round: step, ...this.latest })
    swarm.announce({ validationLoss: loss })
  }

  /** A stage cannot be used. */
  lost(stage: number): void {
    if (!this.#losses.has(stage) && this.#glance !== undefined) {
      this.#losses.set(stage, { since: this.#modules.swarm.clock.now(), before: this.#glance.loss })
    }
  }

  /** All stages have holders: glances at the data, and reports the stages that were lost before. Throws as {@link Steps.look}. */
  async ready(step: number, signal: AbortSignal): Promise<void> {
    const { swarm, report } = this.#modules
    const now = swarm.clock.now()
    if (this.#losses.size === 0 && this.#glance !== undefined && now - this.#glance.at < GLANCE_EVERY) {
      return
    }
    const parts = Math.min(GLANCE_PARTS, await this.#parts())
    const { loss } = this.#mean(await this.#see(parts, signal))
    this.#glance = { at: now, loss }
    for (const [stage, { since, before }] of [...this.#losses].sort(([a], [b]) => a - b)) {
      const peer = this.#holders.ready(stage)[0]
      if (peer !== undefined) {
        const how = this.#holders.origin(stage, peer) ?? 'initial'
        const losses = { lossBefore: before, lossAfter: loss }
        report({ kind: 'stage-recovered', stage, peer, how, step, ...losses, milliseconds: now - since })
        this.#losses.delete(stage)
      }
    }
  }

  #see(parts: number, signal: AbortSignal): Promise<TripResult[]> {
    const sources = Array.from({ length: parts }, (_, part) => ({ kind: 'validation' as const, part }))
    return this.#steps().look(sources, this.#paths, signal)
  }

  #mean(results: readonly TripResult[]): { loss: number; accuracy?: number } {
    const sum = (of: (result: TripResult) => number): number => results.reduce((total, result) => total + of(result), 0)
    const samples = sum((result) => result.samples)
    if (samples === 0) {
      throw new StarlingError('no-validation', 'the validation data of this run has no samples', {})
    }
    const right = sum((result) => result.right)
    return { loss: sum((result) => result.loss) / samples, ...(right > 0 ? { accuracy: right / samples } : {}) }
  }
}

/** Does something that needs all stages, again and again while some are missing or fail. */
export async function patiently<T>(
  work: () => Promise<T>,
  { steps, holders, modules }: { steps: Steps; holders: Holders; modules: StrategyModules },
  signal: AbortSignal,
): Promise<T> {
  for (;;) {
    try {
      return await work()
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof PathFailure) {
        // Another way is tried at once, where there is one.
        steps.lose(error, holders.held(0)?.step ?? 0)
        continue
      }
      if (!(error instanceof StarlingError && (error.code === 'not-ready' || error.code === 'no-holder'))) {
        throw error
      }
      await holders.bell.wait(modules.swarm.clock, RETRY_PAUSE, signal)
    }
  }
}

/** Pause before the stages are tried again, ms; shorter where something changes. */
const RETRY_PAUSE = 500
