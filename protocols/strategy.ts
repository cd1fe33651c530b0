/** What a strategy is made from and what it offers: the shape that the daemon and the simulator run, whatever the algorithm. */
import type { VectorSpec } from '../kernels/index.ts'
import type { Sending } from './attacks/index.ts'
import type { StrategyEvent } from './events.ts'
import type { TensorPart } from './mixing/index.ts'
import type { ComputeTask, Learner, RecordStore, StageCut, StageLearner, Swarm } from './ports.ts'
import type { Blobs } from './transfer/index.ts'

/** What a strategy tells the page, the log and the metrics as it happens. See protocols/events.ts for the kinds. */
export type Report = (event: StrategyEvent) => void

/** What every strategy is made from. */
export interface StrategyModules {
  swarm: Swarm
  learner: Learner
  report: Report
  /**
   * Keeps a small record across restarts (LevelDB in the daemon), under the strategy's own prefix. `put` resolves when the record
   * is on disk.
   */
  records: RecordStore
  /** Bulk transfer over the same transport; shared, because a method has one answerer. */
  blobs: Blobs
  /** Canonical bytes of the run's manifest. */
  manifest: Uint8Array
  /** How long the run trains and how often it looks at the validation data, both in optimizer steps (the manifest's `training`). */
  training: { steps: number; evaluateEvery: number }
  /** Weight matrices in theta, for strategies that look at tensors one by one. Default none. */
  matrices?: readonly TensorPart[]
  /** The parts of the model that this peer can hold, for a strategy that asked for them with {@link StrategyDefinition.stages}; `learner` has no whole model then. */
  stages?: StageLearner
}

/** A way for peers to agree. */
export interface Strategy {
  readonly name: string
  /**
   * Trains until the manifest's steps are done or the signal aborts. Aborting is a clean stop: it resolves, with the learner between
   * two steps and no exchange half applied.
   */
  run(signal: AbortSignal): Promise<void>
  /** Names of the float32 and int32 vectors that make up the state to checkpoint, e.g. ['theta', 'phi', 'delta']. 'theta' is kept anyway. */
  readonly state: readonly string[]
  /** Plain data that goes into the checkpoint beside the vectors (round, pending exchange). */
  progress(): Record<string, unknown>
  /** Files to leave beside the finished model, by name, e.g. the log from which anyone can rebuild it. Asked for once, after `run`. */
  artifacts?(): Promise<Record<string, Uint8Array>>
  /** Where peers hold stages: the whole model that a data peer has put together at the end of `run`, part by part (the ends, stage 1, ...). */
  whole?(): WholeModel | undefined
  /** Where peers hold stages: logits after the last of the tokens, from all stages but those to `omit`, while `run` runs. Throws StarlingError 'not-a-data-peer' or 'not-ready'. */
  logits?(tokens: readonly number[], signal: AbortSignal, omit?: readonly number[]): Promise<Float32Array>
}

/** A model that was held in parts. */
export interface WholeModel {
  step: number
  /** Validation loss of this very model. */
  loss: number
  accuracy?: number
  /** Parameters of each part, as long as {@link StageCut.sizes}. */
  parts: readonly Float32Array[]
}

/** What the daemon needs to know of a strategy before it is made. */
export interface StrategyDefinition<Options> {
  readonly name: string
  /** Vectors that the strategy needs beside the learner's, for a 'theta' of `size` elements; with the cut where it asked for stages. */
  vectors(size: number, options: Options, cut?: StageCut): VectorSpec
  /** For strategies whose peers hold stages instead of the whole model: into how many stages (or how many layers each), and what a peer has room for. */
  stages?(options: Options): {
    stages: number | readonly number[]
    places: number
    microbatches: number
    accumulators: number
  }
  /** What keeps a model that is cut like this from being trained with these options: one line that names the key. Looked at when a run is opened. */
  misfit?(options: Options, cut: StageCut): string | undefined
  /** Every compute task of the strategy, for the trainer thread's table. */
  readonly tasks: readonly ComputeTask<never, unknown>[]
  /** Whether it calls the learner's `train` and `gradient`; a node has no memory for a gradient and an optimizer otherwise. Default: it does. */
  trains?(options: Options): boolean
  /** What a peer of the attack zoo poisons: the tasks that encode theta for others, and the vectors they write. Default: nothing can be. */
  readonly sends?: readonly Sending[]
  /** Peers end with the same parameters, to the bit, so that there is nothing to average at the end. Default false. */
  readonly sharedBase?: boolean
  create(options: Options, modules: StrategyModules, resumed?: Record<string, unknown>): Strategy
}
