import { rename, rm } from 'node:fs/promises'
import { z } from 'zod'
import type { Blobs, Swarm } from '../../protocols/index.ts'
import type { Log } from '../log/index.ts'
import type { Run } from '../run/index.ts'
import { type DataFolder, readCheckpointManifest, readTensors, writeCheckpoint } from '../storage/index.ts'
import type { DaemonEvent } from '../types.ts'
import { averageReplicas } from './final.ts'
import type { Session } from './session.ts'

/**
 * The end of a run on this node: a last checkpoint of its own replica, and in `final/` the average of all replicas that could be had, as safetensors with
 * its `config.json`. The node goes on serving afterwards.
 */
export async function finishRun(
  run: Run,
  folder: DataFolder,
  modules: {
    swarm: Swarm
    blobs: Blobs
    session: Session
    log: Log
    emit(event: DaemonEvent): void
    waiting(what: string): void
  },
  signal: AbortSignal,
): Promise<void> {
  const { swarm, blobs, session, log, emit, waiting } = modules
  const { learner, checkpointer, fixed } = session
  await checkpointer.now(signal)
  const { replicas, deviation, average, own } = await averageReplicas(
    run.layout,
    { swarm, blobs, learner, log, waiting },
    signal,
  )
  const path = folder.file('final')
  const step = learner.step()
  const earlier = await finalOf(path, run.id, step)
  if (earlier !== undefined && earlier.replicas > replicas) {
    // Finished before, in company: what this peer finds alone after a restart is no better.
    emit({ kind: 'final', step, path, ...earlier, ownLoss: own.loss })
    return
  }
  const fresh = `${path}.new`
  await rm(fresh, { recursive: true, force: true })
  await writeCheckpoint(
    fresh,
    {
      ...fixed,
      layout: run.layout,
      step,
      progress: { replicas, deviation, loss: average.loss },
      vectors: { theta: { type: 'float32', data: learner.bytes('gradient') } },
    },
    signal,
  )
  await rm(path, { recursive: true, force: true })
  await rename(fresh, path)
  emit({ kind: 'final', step, path, replicas, deviation, loss: average.loss, ownLoss: own.loss })
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
