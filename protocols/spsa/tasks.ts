/** What `spsa` does with tensors, as compute tasks: pure functions that run where the parameters live, between two evaluations. */
import { DIRECTION_GROUP, type DirectionKind, type VectorSpec } from '../../kernels/index.ts'
import type { ComputeContext, ComputeTask, PeerName } from '../ports.ts'
import { addEffects, partNumber, partOf, ROWS, rowsOf, withKeys } from './arithmetic.ts'
import { directionKeys } from './directions.ts'
import type { Effect } from './effects.ts'
import type { WeightRule } from './weights.ts'

/** Parameters of a block that {@link auditTask} recomputes. */
export const AUDIT_BLOCK = DIRECTION_GROUP

/** Blocks of one audit at most. */
export const MAX_AUDIT_BLOCKS = 16

/** Vectors of the strategy for a model of `size` elements. `theta` is the learner's. */
export function spsaVectors(size: number): VectorSpec {
  return {
    /** The run's common start. */
    base: { type: 'float32', length: size },
    sums: { type: 'int32', length: size },
    /** A point beside theta whose loss is asked for; or the drift of local steps. */
    candidate: { type: 'float32', length: size },
    /** A copy of the sums that others fetch; and where those fetched from another land. */
    snapshot: { type: 'int32', length: size },
    'spsa-keys': { type: 'uint8', length: 32 * ROWS },
    'spsa-coefficients': { type: 'int32', length: ROWS },
    'spsa-audit': { type: 'int32', length: MAX_AUDIT_BLOCKS * AUDIT_BLOCK },
  }
}

/** The key of one direction, where the kernels can read it. */
function keyAt(context: ComputeContext, key: Uint8Array): Uint8Array {
  const row = context.bytes('spsa-keys').subarray(0, key.length)
  row.set(key)
  return row
}

/** sums <- 0: the run's common start. */
export const clearTask: ComputeTask<null, null> = {
  name: 'spsa-clear',
  run(context) {
    context.int32('sums').fill(0)
    return null
  },
}

/** What applying effects took and left. */
export interface Applied {
  /** Time of this thread, for estimates. */
  seconds: number
  /** Parameters times contributions. */
  work: number
  /** The largest sum is at most this; exactly this if it is above 2^30, half of what there is room for. */
  largest: number
}

/**
 * sums += the effects. Throws StarlingError 'sums-overflow', and changes nothing, when a sum could leave 32 bits. About 0.1 s per 10^9 parameters times
 * contributions; the caller bounds that.
 */
export const applyTask: ComputeTask<{ run: string; effects: readonly Effect[]; rule: WeightRule }, Applied> = {
  name: 'spsa-apply',
  run(context, { run, effects, rule }) {
    const start = performance.now()
    const { work, largest } = addEffects(context, run, effects, rule)
    return { seconds: (performance.now() - start) / 1000, work, largest }
  },
}

/** theta <- base - unit * sums: the parameters of the set. */
export const refreshTask: ComputeTask<{ rule: WeightRule }, null> = {
  name: 'spsa-refresh',
  run(context, { rule }) {
    const { kernels } = context
    kernels.fromSums(context.float32('theta'), context.float32('base'), context.int32('sums'), rule.unit)
    return null
  },
}

/** Which point beside theta. */
export interface Perturbation {
  run: string
  author: PeerName
  step: number
  sign: 1 | -1
  epsilon: number
  directions: DirectionKind
}

/** candidate <- theta + sign * epsilon * z, z being the direction of (run, author, step). theta is not touched. */
export const perturbTask: ComputeTask<Perturbation, null> = {
  name: 'spsa-perturb',
  run(context, { run, author, step, sign, epsilon, directions }) {
    const key = keyAt(context, directionKeys(run, author).of(step))
    const { kernels } = context
    kernels.perturb(context.float32('candidate'), context.float32('theta'), key, sign * epsilon, directions, 0)
    return null
  },
}

/** candidate <- theta - parameters of the set, theta <- parameters of the set: puts aside what local steps did. */
export const driftTask: ComputeTask<{ rule: WeightRule }, { norm: number }> = {
  name: 'spsa-drift',
  run(context, { rule }) {
    const { kernels } = context
    const [theta, candidate] = [context.float32('theta'), context.float32('candidate')]
    const [base, sums] = [context.float32('base'), context.int32('sums')]
    kernels.fromSums(candidate, base, sums, rule.unit)
    kernels.axpy(theta, -1, candidate)
    candidate.set(theta)
    kernels.fromSums(theta, base, sums, rule.unit)
    return { norm: Math.sqrt(kernels.sumSquares(candidate)) }
  },
}

/** The products of `candidate` with the directions of an author's steps `from` to `from + count - 1`, each over the part that its step is about. */
export const dotTask: ComputeTask<
  { run: string; author: PeerName; from: number; count: number; rule: WeightRule },
  number[]
> = {
  name: 'spsa-dot',
  run(context, { run, author, from, count, rule }) {
    const candidate = context.float32('candidate')
    const keys = directionKeys(run, author)
    return Array.from({ length: count }, (_, i) => {
      const { start, end } = partOf(from + i, candidate.length, rule)
      const key = keyAt(context, keys.of(from + i))
      return context.kernels.dotDirection(candidate.subarray(start, end), key, rule.directions, start)
    })
  },
}

/** snapshot <- sums, for others to fetch. */
export const snapshotTask: ComputeTask<null, null> = {
  name: 'spsa-snapshot',
  run(context) {
    context.int32('snapshot').set(context.int32('sums'))
    return null
  },
}

/** sums <- snapshot: sums fetched from another peer, after an audit. */
export const adoptTask: ComputeTask<null, null> = {
  name: 'spsa-adopt',
  run(context) {
    context.int32('sums').set(context.int32('snapshot'))
    return null
  },
}

/** A slice of the recomputation of some blocks. */
export interface AuditSlice {
  run: string
  effects: readonly Effect[]
  rule: WeightRule
  /** Numbers of the blocks of {@link AUDIT_BLOCK} parameters, at most {@link MAX_AUDIT_BLOCKS}, the same in every slice. */
  blocks: readonly number[]
  /** What is audited. */
  vector: 'sums' | 'snapshot'
  /** The first slice begins with zero sums, the last one compares. */
  first: boolean
  last: boolean
}

/** Recomputes blocks of sums from effects, slice by slice; the last slice returns the first block that differs from `vector`, if any. */
export const auditTask: ComputeTask<AuditSlice, { mismatch?: number }> = {
  name: 'spsa-audit',
  run(context, { run, effects, rule, blocks, vector, first, last }) {
    if (blocks.length > MAX_AUDIT_BLOCKS) {
      throw new RangeError(`an audit is of at most ${MAX_AUDIT_BLOCKS} blocks, not ${blocks.length}`)
    }
    const audited = context.int32(vector)
    const scratch = context.int32('spsa-audit')
    if (first) {
      scratch.fill(0)
    }
    /** Recomputed sums of the i-th block; the last block of the vector may be shorter. */
    const recomputed = (i: number): Int32Array => {
      const length = Math.min(AUDIT_BLOCK, audited.length - blocks[i]! * AUDIT_BLOCK)
      return scratch.subarray(i * AUDIT_BLOCK, i * AUDIT_BLOCK + length)
    }
    const keyed = withKeys(run, effects)
    for (let index = 0; index < rule.blocks; index++) {
      const { start, end } = partNumber(index, audited.length, rule)
      const inside = [...blocks.entries()].filter(
        ([, block]) => block * AUDIT_BLOCK >= start && block * AUDIT_BLOCK < end,
      )
      if (inside.length === 0) {
        continue
      }
      for (const { keys, coefficients, count } of rowsOf(context, keyed, rule, index)) {
        for (const [i, block] of inside) {
          context.kernels.addDirections(recomputed(i), keys, coefficients, count, rule.directions, block * AUDIT_BLOCK)
        }
      }
    }
    if (!last) {
      return {}
    }
    const mismatch = blocks.find((block, i) => {
      const expected = recomputed(i)
      return expected.some((sum, p) => sum !== audited[block * AUDIT_BLOCK + p])
    })
    return mismatch === undefined ? {} : { mismatch }
  },
}

/** All of them, for the trainer thread's table. */
export const spsaTasks = [
  clearTask,
  applyTask,
  refreshTask,
  perturbTask,
  driftTask,
  dotTask,
  snapshotTask,
  adoptTask,
  auditTask,
] as readonly ComputeTask<never, unknown>[]
