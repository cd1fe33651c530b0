/**
 * A model in stages: every peer holds a run of layers or two, and microbatches go from peer to peer and back. Peers with data hold the ends, embedding and
 * output, and drive the steps. Stages are lost and rebuilt while the others train on. See docs/pipeline.md.
 */
import type { VectorSpec } from '../../kernels/index.ts'
import { StarlingError } from '../errors.ts'
import type { StageCut, StageLearner } from '../ports.ts'
import type { Strategy, StrategyDefinition, StrategyModules, WholeModel } from '../strategy.ts'
import { PipelineEvaluation, patiently } from './evaluation.ts'
import { createFlow, type Flow, PathFailure, type StepDone, Steps } from './flow/index.ts'
import { createHolders, holdersState, holdersTasks, holdersVectors } from './holders/index.ts'
import { keptStages, type PipelineOptions, quotaOf, stageCount } from './options.ts'
import {
  chosenPaths,
  naturalOrder,
  type PathGenerator,
  plannedPaths,
  randomPaths,
  sequentialPaths,
  twinPaths,
} from './paths/index.ts'
import { createPlanner, type Planner } from './skip/index.ts'
import { flowTasks, flowVectors } from './tasks.ts'
import type { Holders } from './types.ts'

/** Longest wait for a change before everything is looked at again, ms. */
const LOOK_AGAIN = 1_000

/** Shortest time between two events that tell how the pipeline does, ms. */
const TELL_EVERY = 1_000

/** Extra modules for tests and measurements. */
export interface PipelineModules extends StrategyModules {
  /** Who holds what, instead of {@link createHolders}. */
  holders?: Holders
  /** Where microbatches go, instead of what the options say. */
  paths?: PathGenerator
}

class Pipeline implements Strategy {
  readonly name = 'pipeline'
  readonly state: readonly string[]
  readonly #modules: StrategyModules & { stages: StageLearner }
  readonly #holders: Holders
  readonly #flow: Flow
  readonly #steps: Steps
  /** With `routing: skip`. */
  readonly #planner: Planner | undefined
  readonly #evaluation: PipelineEvaluation
  /** Aborted when the run ends, whatever how. */
  readonly #ended = new AbortController()
  #failure: unknown
  #whole: WholeModel | undefined
  #toldAt = Number.NEGATIVE_INFINITY

  constructor(options: PipelineOptions, modules: PipelineModules, resumed?: Record<string, unknown>) {
    const { stages, swarm, report } = modules
    if (stages === undefined) {
      throw new StarlingError('no-stages', 'a pipeline needs a model that is cut into stages', {})
    }
    this.#modules = { ...modules, stages }
    this.state = holdersState
    const { cut } = stages
    const onBroken = (error: unknown): void => this.#break(error)
    this.#holders = modules.holders ?? createHolders({ modules: this.#modules, options, cut, resumed, onBroken })
    this.#flow = createFlow(this.#modules, options, this.#holders, onBroken)
    if (options.routing === 'skip') {
      const { skip } = options
      const bytes = this.#flow.parts.tensors.size(cut.rows, 0)
      const planned = { keep: keptStages(options), fullEvery: skip.fullEvery, quota: quotaOf(options), bytes }
      this.#planner = createPlanner({ swarm, report, holders: this.#holders, cut, options: planned })
    }
    this.#steps = new Steps(
      this.#flow.parts,
      this.#flow.data,
      modules.paths ?? pathsOf(options, cut, modules, this.#planner),
      {
        onLost: (failure, step) => this.#lost(failure, step),
        onReady: (step, signal) => this.#evaluation.ready(step, signal),
        onWaiting: (words) => report({ kind: 'waiting', what: 'stage', for: words }),
      },
    )
    const parts = (): Promise<number> => stages.validationParts()
    this.#evaluation = new PipelineEvaluation(modules, this.#holders, cut.stages, parts, () => this.#steps)
    swarm.announce({ phase: 'joining' })
  }

  progress(): Record<string, unknown> {
    return this.#holders.progress()
  }

  whole(): WholeModel | undefined {
    return this.#whole
  }

  /** Holds what there is to hold; where that is the ends, takes the run's steps, looks at the validation data, and puts the model together. */
  async run(signal: AbortSignal): Promise<void> {
    const { swarm, training } = this.#modules
    const end = (): void => this.#ended.abort(signal.reason)
    signal.addEventListener('abort', end, { once: true })
    if (signal.aborted) {
      end()
    }
    const ended = this.#ended.signal
    const stop = this.#flow.start()
    try {
      await this.#holders.start(ended)
      this.#planner?.run(ended).catch((error: unknown) => this.#break(error))
      swarm.announce({ phase: 'training' }, true)
      while (!ended.aborted && !this.#holders.finished() && this.#whole === undefined) {
        const ends = this.#holders.held(0)
        if (ends === undefined) {
          await this.#holders.bell.wait(swarm.clock, LOOK_AGAIN, ended)
        } else if (ends.step >= training.steps) {
          await this.#finish(ends.step, ended)
        } else {
          await this.#step(ends.step + 1, ended)
        }
      }
      this.#check()
      if (!ended.aborted) {
        this.#flow.finish()
        this.#sayFinished()
      }
    } catch (error) {
      await this.#stop(stop)
      this.#check()
      // A stop at any point is a clean end.
      const stopped = error === signal.reason || (error instanceof StarlingError && error.code === 'aborted')
      if (!(signal.aborted && stopped)) {
        throw error
      }
      return
    }
    // Who is finished still serves the others, until the node stops.
    if (signal.aborted) {
      await this.#stop(stop)
    } else {
      const onEnd = (): void => void this.#stop(stop).catch((error: unknown) => this.#break(error))
      ended.addEventListener('abort', onEnd, { once: true })
    }
  }

  /** Takes nothing new, and lets what had begun come to its end. */
  async #stop(stop: () => void): Promise<void> {
    stop()
    await this.#flow.settled()
    await this.#holders.stop()
  }

  async logits(tokens: readonly number[], signal: AbortSignal, omit: readonly number[] = []): Promise<Float32Array> {
    const { stages } = this.#modules.stages.cut
    if (this.#holders.held(0) === undefined) {
      const message = 'this peer holds no ends of the model: ask one that is a data peer'
      throw new StarlingError('not-a-data-peer', message, { dataPeers: this.#holders.dataPeers() })
    }
    const paths = chosenPaths(
      naturalOrder(stages).filter((stage) => !omit.includes(stage)),
      stages,
    )
    try {
      const [result] = await this.#steps.look([{ kind: 'tokens', tokens }], paths, signal)
      return result!.logits!
    } catch (error) {
      if (error instanceof PathFailure) {
        throw new StarlingError('not-ready', `the stages could not be passed: ${error.message}`, {}, { cause: error })
      }
      throw error
    }
  }

  /** One step, and what is due after it. */
  async #step(step: number, signal: AbortSignal): Promise<void> {
    const { swarm, learner, report } = this.#modules
    const done = await this.#steps.take(step, signal)
    if (done === undefined) {
      return
    }
    report({ kind: 'step', ...done })
    swarm.announce({ step, round: step, loss: done.loss })
    await learner.setStep(step)
    await this.#patiently(() => this.#evaluation.look(step, 'if-due', signal), signal)
    this.#tell(done)
  }

  /** The last look at the validation data, and the model as a whole. Only then do the holders hear that they are not needed any more. */
  async #finish(step: number, signal: AbortSignal): Promise<void> {
    const { sizes } = this.#modules.stages.cut
    await this.#patiently(() => this.#evaluation.look(step, 'now', signal), signal)
    const parts: Float32Array[] = []
    for (const [part, size] of sizes.entries()) {
      const into = new Float32Array(size)
      await this.#patiently(() => this.#holders.fetch(part, into, signal), signal)
      parts.push(into)
    }
    const { loss, accuracy } = this.#evaluation.latest!
    this.#whole = { step, loss, ...(accuracy === undefined ? {} : { accuracy }), parts }
    this.#holders.finish()
  }

  #sayFinished(): void {
    const { swarm, report } = this.#modules
    const step = Math.max(0, ...this.#holders.holds().map((held) => held.step))
    swarm.announce({ phase: 'finished', step, round: step }, true)
    report({ kind: 'finished', step, round: step })
  }

  #lost({ stage, peer, reason, code }: PathFailure, step: number): void {
    this.#planner?.lost(stage, peer)
    const others = this.#holders.ready(stage).length
    // A stage that was given to another, as it should be, is no loss, even where the new holder has not been heard of yet.
    if (code !== 'moved') {
      this.#modules.report({ kind: 'stage-lost', stage, peer, step, reason, others })
    }
    if (reason !== 'refused' && others === 0) {
      this.#evaluation.lost(stage)
    }
  }

  /** How the pipeline does, now and then. */
  #tell({ step }: StepDone): void {
    const { swarm, report, stages } = this.#modules
    const now = swarm.clock.now()
    if (now - this.#toldAt < TELL_EVERY) {
      return
    }
    this.#toldAt = now
    const { microbatches, retries } = this.#steps
    const { sent, received } = this.#flow.moved
    report({
      kind: 'pipeline',
      step,
      microbatches: microbatches - this.#told.microbatches,
      inFlight: this.#flow.data.slots.size,
      retries: retries - this.#told.retries,
      holders: naturalOrder(stages.cut.stages).map((stage) => ({ stage, peers: [...this.#holders.ready(stage)] })),
      bytesSent: sent - this.#told.sent,
      bytesReceived: received - this.#told.received,
    })
    this.#told = { microbatches, retries, sent, received }
  }
  #told = { microbatches: 0, retries: 0, sent: 0, received: 0 }

  #patiently<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    return patiently(work, { steps: this.#steps, holders: this.#holders, modules: this.#modules }, signal)
  }

  /** Something broke that nobody waits for. What breaks because the run has ended is no failure. */
  #break(error: unknown): void {
    if (this.#ended.signal.aborted) {
      return
    }
    this.#failure ??= error
    this.#ended.abort(new StarlingError('aborted', 'the pipeline broke', {}))
  }

  #check(): void {
    if (this.#failure !== undefined) {
      throw this.#failure
    }
  }
}

/** Where the microbatches of a step go. */
function pathsOf(
  { routing }: PipelineOptions,
  { stages }: StageCut,
  { swarm }: StrategyModules,
  planner: Planner | undefined,
): PathGenerator {
  if (planner !== undefined) {
    return plannedPaths(stages, (step) => planner.pathsFor(step))
  }
  switch (routing) {
    case 'random':
      return randomPaths(stages, swarm.run, swarm.self)
    case 'twins':
      return twinPaths(stages)
    default:
      return sequentialPaths(stages)
  }
}

/** Vectors of the strategy; `cut` is there because the definition asks for stages. */
function pipelineVectors(_size: number, options: PipelineOptions, cut?: StageCut): VectorSpec {
  if (cut === undefined) {
    throw new StarlingError('no-stages', 'a pipeline needs a model that is cut into stages', {})
  }
  return { ...flowVectors(cut, options), ...holdersVectors(cut, options) }
}

/** What keeps stages like these from being swapped, skipped or rebuilt from each other. */
function misfit({ routing, recovery, stages }: PipelineOptions, cut: StageCut): string | undefined {
  if (cut.alike || cut.stages === 1) {
    return undefined
  }
  const layers = cut.layers.slice(1)
  const have = `${JSON.stringify(stages)} gives ${layers.join(', ')} layers`
  if (routing === 'twins' || routing === 'skip') {
    return `strategy.stages: must all be alike with routing: ${routing}; ${have}`
  }
  return recovery === 'random' || recovery === 'checkpoint'
    ? undefined
    : `strategy.stages: must all be alike with recovery: ${recovery} ("random" and "checkpoint" take any stages); ${have}`
}

/** The pipeline, for the daemon's table of strategies. Its options are those of `pipelineOptionsSchema`. */
export const pipeline: StrategyDefinition<PipelineOptions> = {
  name: 'pipeline',
  vectors: pipelineVectors,
  stages: (options) => ({
    stages: typeof options.stages === 'number' ? stageCount(options) : options.stages,
    places: options.places,
    microbatches: options.microbatches,
    accumulators: options.dataPeers,
  }),
  misfit,
  tasks: [...flowTasks, ...holdersTasks],
  create: (options, modules, resumed) => new Pipeline(options, modules, resumed),
}
