/** What the network thread and the trainer thread say to each other. Plain data in both directions; big things stay in the shared vectors. */
import type { VectorsHandle } from '../../kernels/index.ts'
import type {
  EvaluationReport,
  GenerateOptions,
  ModelConfig,
  ModelCut,
  StageTrainer,
  StepReport,
  TrainingConfig,
} from '../../models/index.ts'
import type { DataSource } from '../run/index.ts'

/** Everything a trainer thread is made from; it survives the thread, so that another one can take its place. */
export interface TrainerSetup {
  vectors: VectorsHandle
  model: ModelConfig
  training: TrainingConfig
  /** At a peer of a pipeline, how the model is cut: the thread then has parts of the model and not the whole. */
  cut?: ModelCut
  /** Whether steps are taken; otherwise the vectors hold no gradient and no optimizer. */
  trains: boolean
  /** Data set and the shard of this peer. */
  data: DataSource
  /** Seed of the initial parameters, the same for all peers of a run. */
  seed: number
  /** The safetensors file of the initial parameters, where the run starts from one instead. */
  weights?: { path: string; name: string }
  /** Rows of the validation split that an evaluation takes; all of them when left out. */
  validationRows?: number
  engine?: 'native' | 'wasm' | 'js'
  /** Threads for TensorFlow. */
  threads: number
  /** Modules that export `tasks`, the compute tasks this trainer can run, as file URLs. */
  taskModules: readonly string[]
}

/** What a new thread gets beside the setup. */
export interface TrainerData {
  setup: TrainerSetup
  control: SharedArrayBuffer
  /** Write initial parameters into 'theta' first; only the first thread of a fresh node does. */
  initialize: boolean
  /** Optimizer steps taken so far. */
  step: number
}

/** Places in the control buffer (Int32), which tells what a thread was doing when it died; from `held` on, the stage of each place of a pipeline. */
export const CONTROL = { job: 0, step: 1, held: 2 } as const

export interface TrainerEngine {
  name: string
  why: string
}

export type TrainerCall =
  | { method: 'train'; target: number }
  | { method: 'evaluate'; vector?: string }
  | { method: 'lossAt'; vector: string; batch: number }
  | { method: 'gradient'; batch: number }
  | { method: 'compute'; task: string; args: unknown }
  | { method: 'generate'; options: GenerateOptions }
  | { method: 'setStep'; step: number }
  | { method: 'initial'; vector: string }
  /** Copies vectors' bytes one after the other into `into`; answers with the step they belong to. */
  | { method: 'snapshot'; names: readonly string[]; into: SharedArrayBuffer }
  /** Live tensors of the engine, for the leak check. */
  | { method: 'tensors' }
  | StageCall

/** The operations of a {@link StageTrainer} that a pipeline calls. */
export type StageOperation =
  | 'validationParts'
  | 'hold'
  | 'initial'
  | 'embed'
  | 'forward'
  | 'loss'
  | 'backward'
  | 'drop'
  | 'clear'
  | 'step'
  | 'logits'

/** An operation with its arguments. */
export type StageCall = {
  [Name in StageOperation]: { method: `stage ${Name}`; arguments: Parameters<StageTrainer[Name]> }
}[StageOperation]

export type ToTrainer =
  | { kind: 'call'; id: number; call: TrainerCall }
  | { kind: 'abort'; id: number }
  | { kind: 'close' }

export type FromTrainer =
  | { kind: 'ready'; engine: TrainerEngine }
  | { kind: 'step'; id: number; report: StepReport }
  | { kind: 'done'; id: number; value: unknown }
  | { kind: 'failed'; id: number; code: string; message: string; data: Record<string, unknown> }
  | { kind: 'start-failed'; code: string; message: string; data: Record<string, unknown> }

export type { EvaluationReport, StepReport }
