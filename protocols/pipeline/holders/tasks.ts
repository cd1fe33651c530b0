/** What taking and giving parts does with vectors, as compute tasks. Parts are ranges of theta; nothing of their size is allocated. */
import type { VectorSpec } from '../../../kernels/index.ts'
import type { ComputeTask, StageCut } from '../../ports.ts'
import type { PipelineOptions } from '../options.ts'
import { averageInto } from '../recovery.ts'
import { outerTasks, outerVectors } from './outer-tasks.ts'
import type { Range } from './own.ts'

/** Where a copy lies that others fetch: parameters of one part. */
export const COPY = 'pipeline-copy'

/** Vectors of the holders. */
export function holdersVectors(cut: StageCut, options: PipelineOptions): VectorSpec {
  return { [COPY]: { type: 'float32', length: Math.max(...cut.sizes) }, ...outerVectors(cut, options) }
}

/** Beside theta and the moments nothing of the holders is kept in a checkpoint: a process that goes on from one begins its outer rounds anew. */
export const holdersState: readonly string[] = []

/** The copy <- a range of theta. */
export const copyTask: ComputeTask<Range, null> = {
  name: 'pipeline-copy',
  run(context, { begin, end }) {
    context.float32(COPY).set(context.float32('theta').subarray(begin, end))
    return null
  },
}

/** Looks at a range of a vector: finite or not, and its root mean square. */
export const inspectTask: ComputeTask<Range & { vector: string }, { finite: boolean; scale: number }> = {
  name: 'pipeline-inspect',
  run(context, { vector, begin, end }) {
    const { kernels } = context
    const values = context.float32(vector).subarray(begin, end)
    const finite = kernels.allFinite(values)
    return { finite, scale: finite ? Math.sqrt(kernels.sumSquares(values) / Math.max(1, values.length)) : 0 }
  },
}

/** A range of a vector <- an equally long range of theta. */
export const copyWithinTask: ComputeTask<{ from: Range; vector: string; to: Range }, null> = {
  name: 'pipeline-copy-within',
  run(context, { from, vector, to }) {
    context.float32(vector).set(context.float32('theta').subarray(from.begin, from.end), to.begin)
    return null
  },
}

/** theta <- (1 - weight) theta + weight gradient, in a range whose gradient holds the other neighbour; the gradient is scratch afterwards. */
export const averageTask: ComputeTask<Range & { weight: number }, null> = {
  name: 'pipeline-average',
  run(context, { begin, end, weight }) {
    averageInto(
      context.kernels,
      context.float32('theta').subarray(begin, end),
      context.float32('gradient').subarray(begin, end),
      weight,
    )
    return null
  },
}

/** theta <- gradient in a range in which a whole copy has arrived; the gradient is 0 afterwards. */
export const adoptTask: ComputeTask<Range, null> = {
  name: 'pipeline-adopt',
  run(context, { begin, end }) {
    const arrived = context.float32('gradient').subarray(begin, end)
    context.float32('theta').set(arrived, begin)
    arrived.fill(0)
    return null
  },
}

/** A range of some vectors <- 0: moments and gradients that an earlier use of the place left. */
export const zeroTask: ComputeTask<Range & { vectors: readonly string[] }, null> = {
  name: 'pipeline-zero',
  run(context, { vectors, begin, end }) {
    for (const vector of vectors) {
      context.float32(vector).fill(0, begin, end)
    }
    return null
  },
}

/** Nothing: whoever gets an answer knows that the thread works. */
export const aliveTask: ComputeTask<null, null> = {
  name: 'pipeline-alive',
  run: () => null,
}

/** All of them, for the trainer thread's table. */
export const holdersTasks = [
  copyTask,
  inspectTask,
  copyWithinTask,
  averageTask,
  adoptTask,
  zeroTask,
  aliveTask,
  ...outerTasks,
] as readonly ComputeTask<never, unknown>[]
