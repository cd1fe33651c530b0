import type { VectorSpec } from '../../kernels/index.ts'
import type { Layout } from '../../models/index.ts'
import { StarlingError, type Strategy } from '../../protocols/index.ts'
import type { Log } from '../log/index.ts'
import type { CheckpointInput, Checkpoints, VectorBytes } from '../storage/index.ts'
import type { LocalLearner } from '../trainer/index.ts'
import type { DaemonEvent } from '../types.ts'

/** Shortest time between the end of one checkpoint and the next one, milliseconds: rounds of a small model follow each other faster than is worth it. */
const CHECKPOINT_PAUSE = 5_000

/** The pause is at least this many times the time the last one took, so that writing takes at most a tenth of the disk. */
const PAUSE_FACTOR = 9

/** Copies tried until the strategy's progress is the same before and after. */
const SNAPSHOT_ATTEMPTS = 5

/** Writes the state of a node to its folder, in the background. */
export interface Checkpointer {
  /** A round is over: writes a checkpoint, unless one was written just now or is being written. Never throws. */
  round(): void
  /** Writes a checkpoint of the state as it is now and waits for it; undefined when this very step is on disk already. */
  now(signal?: AbortSignal): Promise<string | undefined>
}

export interface CheckpointerModules {
  learner: LocalLearner
  strategy: Strategy
  checkpoints: Checkpoints
  log: Log
  emit(event: DaemonEvent): void
  now(): number
}

export interface CheckpointerOptions {
  /** What does not change during a run. */
  fixed: Pick<CheckpointInput, 'run' | 'model' | 'manifest' | 'config'>
  /** Tensors in 'theta', at that progress of the strategy. */
  layout(progress: Record<string, unknown>): Layout
  /** Every vector of the node. */
  spec: VectorSpec
  /** Those to keep beside the strategy's: the optimizer's moments. */
  vectors: readonly string[]
}

/** Makes the checkpointer of a node. Its copy buffer is allocated at the first checkpoint and reused. */
export function createCheckpointer(options: CheckpointerOptions, modules: CheckpointerModules): Checkpointer {
  const { learner, strategy, checkpoints, log, emit, now } = modules
  const names = [...new Set(['theta', ...strategy.state, ...options.vectors])]
  const bytes = names.reduce((sum, name) => sum + learner.bytes(name).length, 0)
  const typeOf = (name: string): VectorBytes['type'] => {
    const type = options.spec[name]?.type
    if (type === 'float32' || type === 'int32') return type
    throw new StarlingError('bad-checkpoint', `the vector ${name} is ${type ?? 'not there'} and cannot be kept`, {
      name,
    })
  }
  let copy: SharedArrayBuffer | undefined
  let writing: Promise<unknown> | undefined
  let notBefore = Number.NEGATIVE_INFINITY
  let written: { step: number; progress: string; path: string } | undefined

  /** Copies the vectors between two steps, together with the progress that belongs to them. */
  const snapshot = async (
    signal: AbortSignal | undefined,
  ): Promise<{ step: number; progress: string; vectors: Record<string, VectorBytes> }> => {
    copy ??= new SharedArrayBuffer(bytes)
    for (let attempt = 0; attempt < SNAPSHOT_ATTEMPTS; attempt++) {
      const before = JSON.stringify(strategy.progress())
      const step = await learner.snapshot(names, copy, signal)
      // A round that ended while the copy was waiting for its turn would give the vectors of one round the number of another.
      if (JSON.stringify(strategy.progress()) !== before) continue
      const vectors: Record<string, VectorBytes> = {}
      let offset = 0
      for (const name of names) {
        const { length } = learner.bytes(name)
        vectors[name] = { type: typeOf(name), data: new Uint8Array(copy, offset, length) }
        offset += length
      }
      return { step, progress: before, vectors }
    }
    throw new StarlingError('checkpoint-postponed', 'the strategy changed its state at every attempt to copy it', {})
  }

  const write = async (signal: AbortSignal | undefined): Promise<string | undefined> => {
    const { step, progress, vectors } = await snapshot(signal)
    if (written !== undefined && written.step === step && written.progress === progress) return undefined
    const state = JSON.parse(progress) as Record<string, unknown>
    const input = { ...options.fixed, layout: options.layout(state), step, progress: state, vectors }
    const result = await checkpoints.write(input, signal)
    written = { step, progress, path: result.path }
    notBefore = now() + Math.max(CHECKPOINT_PAUSE, PAUSE_FACTOR * result.milliseconds)
    emit({ kind: 'checkpoint', step, path: result.path, bytes: result.bytes, milliseconds: result.milliseconds })
    return result.path
  }

  /** One at a time: they share the copy buffer. */
  const exclusive = (signal: AbortSignal | undefined): Promise<string | undefined> => {
    const next = (writing ?? Promise.resolve()).then(() => write(signal))
    const settled = next.then(
      () => {},
      () => {},
    )
    writing = settled
    void settled.then(() => {
      if (writing === settled) writing = undefined
    })
    return next
  }

  return {
    round() {
      if (writing !== undefined || now() < notBefore) return
      exclusive(undefined).catch((error: unknown) => {
        notBefore = now() + CHECKPOINT_PAUSE
        const expected =
          error instanceof StarlingError && ['aborted', 'checkpoint-postponed', 'trainer-crashed'].includes(error.code)
        if (expected) log.debug('a checkpoint was put off', {}, error)
        else log.warn('a checkpoint could not be written; training goes on', {}, error)
      })
    },
    now: exclusive,
  }
}
