import { rename } from 'node:fs/promises'
import type { SharedVectors, VectorSpec } from '../../kernels/index.ts'
import { huggingFaceConfig, likelyEngine, stageVectors, trainerVectors } from '../../models/index.ts'
import { attacks, type Blobs, type Report, StarlingError, type Strategy, type Swarm } from '../../protocols/index.ts'
import type { Log } from '../log/index.ts'
import { type Run, sourceOf, strategiesModule } from '../run/index.ts'
import {
  type CheckpointManifest,
  type Checkpoints,
  type DataFolder,
  heldLayout,
  openCheckpoints,
  readCheckpointManifest,
  readTensors,
} from '../storage/index.ts'
import { createLearner, type LocalLearner } from '../trainer/index.ts'
import type { DaemonEvent, NodeOptions } from '../types.ts'
import { type Checkpointer, createCheckpointer } from './checkpointing.ts'
import { bytesOf, checkMemory, createVectors, memoryLimit } from './memory.ts'
import { timedStages } from './stage-times.ts'

/** What trains: the vectors, the trainer thread and the strategy, with their checkpoints. */
export interface Session {
  learner: LocalLearner
  strategy: Strategy
  checkpointer: Checkpointer
  /** The fixed part of everything written. */
  fixed: { run: string; model: Record<string, unknown>; manifest: unknown; config: Record<string, unknown> }
  /** What was loaded, if anything was. */
  resumed: { path: string; step: number } | undefined
}

export interface SessionModules {
  folder: DataFolder
  swarm: Swarm
  blobs: Blobs
  log: Log
  emit(event: DaemonEvent): void
  report: Report
  /** An operation on stages took so long, milliseconds. */
  took(operation: string, milliseconds: number): void
}

/**
 * Opens the model of a run on this node, or the parts of it that a peer of a pipeline holds: memory, the newest valid checkpoint if the node resumes, the trainer thread, the strategy. Throws what they throw;
 * 'memory-too-small' when this process may not have enough.
 */
export async function openSession(
  run: Run,
  options: Pick<NodeOptions, 'engine' | 'threads' | 'resume' | 'attack'> & { paths: Record<string, string> },
  modules: SessionModules,
  signal: AbortSignal,
): Promise<Session> {
  const { folder, swarm, blobs, log, report } = modules
  const { definition } = run.strategy
  const { name: _, ...strategyOptions } = run.manifest.strategy
  const { weights } = run.manifest.model
  const trains = definition.trains?.(strategyOptions) ?? true
  const { cut } = run
  const trained = cut === undefined ? trainerVectors(run.model, run.training, trains) : stageVectors(run.training, cut)
  const size = trained.theta?.length ?? run.layout.length
  const spec = { ...trained, ...definition.vectors(size, strategyOptions, cut) }
  const doubt = checkMemory(bytesOf(spec), options.engine ?? likelyEngine(), memoryLimit())
  if (doubt !== undefined) log.warn(doubt)
  const vectors = createVectors(spec)

  const checkpoints = openCheckpoints(folder.file('checkpoints'), log)
  if (!options.resume) await setAside(folder, checkpoints, log)
  const found = options.resume ? await load(run, { spec, vectors }, checkpoints, signal) : undefined
  const learner = await createLearner(
    {
      vectors: vectors.handle,
      model: run.model,
      training: run.training,
      trains,
      ...(cut === undefined ? {} : { cut }),
      data: sourceOf(run.manifest.data, run.model, run.manifest.seed, swarm.self, options.paths),
      seed: run.manifest.seed,
      ...(weights === undefined
        ? {}
        : { weights: { path: options.paths[weights.root] as string, name: weights.name } }),
      threads: options.threads,
      taskModules: [strategiesModule],
      ...(options.engine === undefined ? {} : { engine: options.engine }),
    },
    { vectors, log: log.child('trainer'), onEvent: modules.emit },
    { initialize: found === undefined, step: found?.manifest.step ?? 0, signal },
  )
  try {
    const records = folder.records('strategy')
    const { bytes: manifest, training } = run
    const stages = learner.stages === undefined ? undefined : timedStages(learner.stages, modules.took)
    const parts =
      stages === undefined ? { matrices: run.layout.tensors.filter(({ shape }) => shape.length > 1) } : { stages }
    const trainee = options.attack === undefined ? learner : lying(learner, options.attack, run, swarm)
    const strategy = definition.create(
      strategyOptions,
      { swarm, learner: trainee, report, records, blobs, manifest, training, ...parts },
      found?.manifest.progress,
    )
    const fixed = {
      run: run.id,
      model: run.model as unknown as Record<string, unknown>,
      manifest: run.manifest,
      config: huggingFaceConfig(run.model),
    }
    const moments = stages?.moments ?? Object.keys(trained).filter((name) => name !== 'theta' && name !== 'gradient')
    const checkpointer = createCheckpointer(
      { fixed, layout: cut === undefined ? () => run.layout : heldLayout(run.model, cut), spec, vectors: moments },
      { learner, strategy, checkpoints, log, emit: modules.emit, now: () => performance.now() },
    )
    const resumed = found === undefined ? undefined : { path: found.path, step: found.manifest.step }
    return { learner, strategy, checkpointer, fixed, resumed }
  } catch (error) {
    await learner.close()
    throw error
  }
}

/** A learner that lies in what it sends: a peer of a demonstration. Throws StarlingError 'bad-option'. */
function lying(learner: LocalLearner, attack: string, run: Run, swarm: Swarm): LocalLearner {
  const { model, layout, strategy } = run
  const { name, sends } = { name: run.manifest.strategy.name, sends: strategy.definition.sends }
  if (sends === undefined)
    throw new StarlingError('bad-option', `attack: peers of strategy ${name} send nothing that could be attacked`)
  const symmetries =
    model.architecture === 'decoder'
      ? attacks.decoderSymmetries(layout.tensors, model.keyValueHeads ?? model.heads)
      : []
  const crowd = (): { peers: number; faulty: number } => ({ peers: swarm.members().length + 1, faulty: 1 })
  return attacks.hostileLearner(learner, { attack, seed: swarm.run, symmetries, sends, crowd })
}

/** Loads the newest valid checkpoint of this run; those of another version or another run are an error, not a reason to start from nothing. */
async function load(
  run: Run,
  { spec, vectors }: { spec: VectorSpec; vectors: SharedVectors },
  checkpoints: Checkpoints,
  signal: AbortSignal,
): Promise<{ path: string; manifest: CheckpointManifest } | undefined> {
  return checkpoints.newest(async (path) => {
    const manifest = await readCheckpointManifest(path)
    if (manifest.run !== run.id) {
      throw new StarlingError(
        'checkpoint-other-run',
        `the checkpoint ${path} belongs to another run (${manifest.run})`,
        { path, run: manifest.run },
      )
    }
    const target = (name: string): Float32Array | Int32Array | undefined => {
      if (!vectors.has(name)) return undefined
      return spec[name]?.type === 'int32' ? vectors.int32(name) : vectors.float32(name)
    }
    await readTensors(path, manifest, target, signal)
    return { path, manifest }
  })
}

/** A start from nothing in a folder that holds an earlier run's checkpoints must not push them out, three rounds later. */
async function setAside(folder: DataFolder, checkpoints: Checkpoints, log: Log): Promise<void> {
  if ((await checkpoints.list()).length === 0) return
  const to = folder.file(`checkpoints-before-${new Date().toISOString().replaceAll(/[:.]/g, '-')}`)
  await rename(folder.file('checkpoints'), to)
  log.warn('starting from nothing, as resuming was not asked for; the earlier checkpoints are kept aside', { path: to })
}
