/**
 * The outer step between holders of one part, as compute tasks: NoLoCo's own (protocols/noloco), on one part of longer vectors, and from a snapshot, so that training goes on while partners
 * meet.
 */
import type { VectorSpec } from '../../../kernels/index.ts'
import { codecs } from '../../codecs/index.ts'
import { encodeTask, inspectTask, stepTask, TENSOR_SLICE, type TensorOptions } from '../../noloco/index.ts'
import type { ComputeContext, ComputeTask, StageCut, StagePlace } from '../../ports.ts'
import type { PipelineOptions } from '../options.ts'
import type { Range } from './own.ts'

/** Code in which holders' tensors travel: NoLoCo's default. */
export const OUTER_CODEC = 'int8'

/** Whether some part may have several holders. */
export const hasReplicas = ({ replicas, dataPeers }: Pick<PipelineOptions, 'replicas' | 'dataPeers'>): boolean =>
  replicas > 1 || dataPeers > 1

/** Slow weights, momentum and snapshot of every place, and what travels; nothing where every part has one holder. */
export function outerVectors(cut: StageCut, options: PipelineOptions): VectorSpec {
  if (!hasReplicas(options)) {
    return {}
  }
  const largest = Math.max(...cut.sizes)
  const length = cut.sizes[0]! + cut.places * Math.max(...cut.sizes.slice(1))
  const places: StagePlace[] = ['ends', ...Array.from({ length: cut.places }, (_, place) => place)]
  const slice = Math.min(TENSOR_SLICE, largest)
  return {
    'outer-theta': { type: 'float32', length },
    'outer-phi': { type: 'float32', length },
    'outer-delta': { type: 'float32', length },
    'noloco-own': { type: 'float32', length: slice },
    'noloco-partner': { type: 'float32', length: slice },
    ...Object.fromEntries(
      places.flatMap((place) =>
        ['outbox', 'inbox'].map((name) => [
          boxOf(name, place),
          { type: 'uint8' as const, length: codecs[OUTER_CODEC].bytes(largest) },
        ]),
      ),
    ),
  }
}

/** What one part's exchange works on. */
export interface Scope extends Range {
  place: StagePlace
}

/** What the vectors of an exchange are called for one part. */
const VECTORS: Readonly<Record<string, string>> = { theta: 'outer-theta', phi: 'outer-phi', delta: 'outer-delta' }
const boxOf = (name: string, place: StagePlace): string => `outer-${name}-${place}`

/** Bytes of a vector that an exchange of this part asks for: what it sends and gets, exactly as long as its tensor. */
export function scopedBytes(of: Pick<ComputeContext, 'bytes'>, { begin, end, place }: Scope, name: string): Uint8Array {
  if (name === 'outbox' || name === 'inbox') {
    return of.bytes(boxOf(name, place)).subarray(0, codecs[OUTER_CODEC].bytes(end - begin))
  }
  return of.bytes(VECTORS[name] ?? name).subarray(4 * begin, 4 * end)
}

function scoped(context: ComputeContext, scope: Scope): ComputeContext {
  return {
    kernels: context.kernels,
    float32: (name) => {
      const vector = VECTORS[name]
      return vector === undefined ? context.float32(name) : context.float32(vector).subarray(scope.begin, scope.end)
    },
    int32: (name) => context.int32(name),
    bytes: (name) => scopedBytes(context, scope, name),
  }
}

const exchangeTasks: Readonly<Record<string, ComputeTask<never, unknown>>> = {
  [encodeTask.name]: encodeTask,
  [inspectTask.name]: inspectTask,
}

/** One of the tasks that an exchange asks for, on one part. */
export const scopedTask: ComputeTask<{ scope: Scope; task: string; args: unknown }, unknown> = {
  name: 'pipeline-outer-exchange',
  run(context, { scope, task, args }) {
    return exchangeTasks[task]!.run(scoped(context, scope), args as never)
  },
}

/** A part begins: its slow weights <- its weights, its outer momentum <- 0. */
export const outerStartTask: ComputeTask<Range, null> = {
  name: 'pipeline-outer-start',
  run(context, { begin, end }) {
    context.float32('outer-phi').set(context.float32('theta').subarray(begin, end), begin)
    context.float32('outer-delta').fill(0, begin, end)
    return null
  },
}

/** The weights at the end of a round, with which it is exchanged while training goes on. */
export const outerSnapshotTask: ComputeTask<Range, null> = {
  name: 'pipeline-outer-snapshot',
  run(context, { begin, end }) {
    context.float32('outer-theta').set(context.float32('theta').subarray(begin, end), begin)
    return null
  },
}

/**
 * The outer step of the snapshot; what was trained since then is kept on top of it: theta <- theta + (new slow weights - snapshot). It counts in the next round.
 */
export const outerStepTask: ComputeTask<{ scope: Scope; tensor: TensorOptions; share: number }, null> = {
  name: 'pipeline-outer-step',
  run(context, { scope, tensor, share }) {
    const { kernels } = context
    const theta = context.float32('theta').subarray(scope.begin, scope.end)
    const snapshot = context.float32('outer-theta').subarray(scope.begin, scope.end)
    kernels.axpy(theta, -1, snapshot)
    stepTask.run(scoped(context, scope), { ...tensor, share })
    kernels.axpy(theta, 1, snapshot)
    return null
  },
}

export const outerTasks = [scopedTask, outerStartTask, outerSnapshotTask, outerStepTask] as readonly ComputeTask<
  never,
  unknown
>[]
