import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { assembleStages } from '../../models/index.ts'
import type { Blobs, RunningSwarm, StageCut } from '../../protocols/index.ts'
import type { Log } from '../log/index.ts'
import type { Run } from '../run/index.ts'
import {
  type DataFolder,
  hashParameters,
  readCheckpointManifest,
  readTensors,
  writeCheckpoint,
} from '../storage/index.ts'
import type { DaemonEvent } from '../types.ts'
import { averageReplicas } from './final.ts'
import type { Session } from './session.ts'

interface FinishModules {
  swarm: RunningSwarm
  blobs: Blobs
  session: Session
  log: Log
  emit(event: DaemonEvent): void
  waiting(what: string): void
}

/**
 * The end of a run on this node: a last checkpoint of its own replica, and in `final/` the finished model as safetensors with its `config.json`, with what
 * the strategy leaves beside it. The model is the average of all replicas that could be had, this node's own where all share one base, or what a peer with data
 * has put together from the stages of a pipeline, whose other peers have no whole model. The node goes on serving afterwards.
 */
export async function finishRun(
  run: Run,
  folder: DataFolder,
  modules: FinishModules,
  signal: AbortSignal,
): Promise<void> {
  await modules.session.checkpointer.now(signal)
  if (run.cut !== undefined) await keepWhole(run, run.cut, folder, modules, signal)
  else if (run.strategy.definition.sharedBase === true) await keepOwn(run, folder, modules, signal)
  else await keepAverage(run, folder, modules, signal)
}

async function keepAverage(run: Run, folder: DataFolder, modules: FinishModules, signal: AbortSignal): Promise<void> {
  const { session, emit } = modules
  const { learner } = session
  const { replicas, deviation, average, own } = await averageReplicas(run.layout, { ...modules, learner }, signal)
  const path = folder.file('final')
  const step = learner.step()
  const earlier = await finalOf(path, run.id, step)
  if (earlier !== undefined && earlier.replicas > replicas) {
    // Finished before, in company: what this peer finds alone after a restart is no better.
    emit({ kind: 'final', step, path, ...earlier, ownLoss: own.loss })
    return
  }
  const progress = { replicas, deviation, loss: average.loss }
  await writeFinal(run, path, { session, step, progress, data: learner.bytes('gradient') }, signal)
  emit({ kind: 'final', step, path, ...progress, ownLoss: own.loss })
}

async function keepOwn(run: Run, folder: DataFolder, modules: FinishModules, signal: AbortSignal): Promise<void> {
  const { swarm, session, emit } = modules
  const { learner } = session
  const step = learner.step()
  const { loss } = await learner.evaluate({ signal })
  const sha256 = await hashParameters(run.layout, learner.float32('theta'), signal)
  swarm.announce({ phase: 'finished', step }, true)
  const path = folder.file('final')
  const progress = { replicas: 1, deviation: 0, loss }
  const data = learner.bytes('theta')
  await writeFinal(run, path, { session, step, progress: { ...progress, sha256 }, data }, signal)
  emit({ kind: 'final', step, path, ...progress, ownLoss: loss, sha256 })
}

async function keepWhole(
  run: Run,
  cut: StageCut,
  folder: DataFolder,
  { swarm, session, emit }: FinishModules,
  signal: AbortSignal,
): Promise<void> {
  const { strategy } = session
  const whole = strategy.whole?.()
  if (whole === undefined) {
    swarm.announce({ phase: 'finished' }, true)
    emit({ kind: 'final-elsewhere', step: swarm.status().step })
    return
  }
  const { step, loss, parts } = whole
  swarm.announce({ phase: 'finished', step }, true)
  const theta = new Float32Array(run.layout.length)
  assembleStages(run.model, cut, parts, theta)
  const path = folder.file('final')
  const progress = { replicas: 1, deviation: 0, loss, stages: cut.stages }
  const sha256 = await hashParameters(run.layout, theta, signal)
  const data = new Uint8Array(theta.buffer)
  await writeFinal(run, path, { session, step, progress: { ...progress, sha256 }, data }, signal)
  emit({ kind: 'final', step, path, ...progress, ownLoss: loss })
}

/** Writes `final/` beside and renames it, so that what is there is always whole. */
async function writeFinal(
  run: Run,
  path: string,
  what: { session: Session; step: number; progress: Record<string, unknown>; data: Uint8Array },
  signal: AbortSignal,
): Promise<void> {
  const { strategy, fixed } = what.session
  const fresh = `${path}.new`
  await rm(fresh, { recursive: true, force: true })
  await writeCheckpoint(
    fresh,
    {
      ...fixed,
      layout: run.layout,
      step: what.step,
      progress: what.progress,
      vectors: { theta: { type: 'float32', data: what.data } },
    },
    signal,
  )
  for (const [name, bytes] of Object.entries((await strategy.artifacts?.()) ?? {}))
    await writeFile(join(fresh, name), bytes)
  await rm(path, { recursive: true, force: true })
  await rename(fresh, path)
}

const finalProgress = z.object({ replicas: z.number().int().min(1), deviation: z.number(), loss: z.number() })

/** What an earlier process of this peer made of the same run at the same step; undefined when there is nothing of the kind. */
async function finalOf(path: string, run: string, step: number): Promise<z.output<typeof finalProgress> | undefined> {
  try {
    const manifest = await readCheckpointManifest(path)
    if (manifest.run !== run || manifest.step !== step) return undefined
    // Looks at the files, whose sizes it checks, and takes none of the tensors.
    await readTensors(path, manifest, () => undefined)
    return finalProgress.parse(manifest.progress)
  } catch {
    // Missing or damaged: it is made again.
    return undefined
  }
}
