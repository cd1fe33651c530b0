/**
 * What NoLoCo does with tensors, as compute tasks: pure functions that run where the parameters live, between two training steps. They go
 * through the model in slices of {@link SLICE} elements, so that the scratch vectors stay in the processor's cache and cost no memory.
 */
import type { VectorSpec } from '../../kernels/index.ts'
import { type CodecName, codecs } from '../codecs/index.ts'
import { StarlingError } from '../errors.ts'
import type { ComputeContext, ComputeTask } from '../ports.ts'
import type { ReplicaTasks } from '../replica/index.ts'
import { composeMessage, outerStep } from './outer-step.ts'
import { constantsOf, type NolocoOptions, type OuterConstants } from './stability.ts'

/** Elements worked on at a time; 256 KiB per vector, and a multiple of the code's block. */
const SLICE = 65_536

/** What every task needs to know. */
export interface TensorOptions {
  codec: CodecName
  constants: OuterConstants
}

/** A partner whose message is this many times larger or smaller than ours (root mean square) does not train the same model. */
export const MAX_SCALE_RATIO = 10

/** Vectors of the strategy for a model of `size` elements. `theta` and `gradient` are the learner's. */
export function nolocoVectors(size: number, options: NolocoOptions): VectorSpec {
  const bytes = codecs[options.codec].bytes(size)
  const slice = Math.min(SLICE, size)
  return {
    phi: { type: 'float32', length: size },
    delta: { type: 'float32', length: size },
    // A copy of phi that others fetch while this peer trains on; and where a replica fetched from another lands.
    snapshot: { type: 'float32', length: size },
    outbox: { type: 'uint8', length: bytes },
    inbox: { type: 'uint8', length: bytes },
    'noloco-own': { type: 'float32', length: slice },
    'noloco-partner': { type: 'float32', length: slice },
  }
}

/** Tensor options from the strategy's. */
export function tensorOptions(options: NolocoOptions): TensorOptions {
  return { codec: options.codec, constants: constantsOf(options) }
}

/** The slice of the tensors of a replica that begins at `start`, and scratch of the same length. */
interface Slice {
  start: number
  theta: Float32Array
  phi: Float32Array
  delta: Float32Array
  own: Float32Array
  partner: Float32Array
}

function* slices(context: ComputeContext): Generator<Slice> {
  const theta = context.float32('theta')
  const phi = context.float32('phi')
  const delta = context.float32('delta')
  const own = context.float32('noloco-own')
  const partner = context.float32('noloco-partner')
  for (let start = 0; start < theta.length; start += SLICE) {
    const end = Math.min(start + SLICE, theta.length)
    yield {
      start,
      theta: theta.subarray(start, end),
      phi: phi.subarray(start, end),
      delta: delta.subarray(start, end),
      own: own.subarray(0, end - start),
      partner: partner.subarray(0, end - start),
    }
  }
}

/** phi <- theta, delta <- 0: a replica that starts from the run's common parameters. */
export const startTask: ComputeTask<null, null> = {
  name: 'noloco-start',
  run(context) {
    context.float32('phi').set(context.float32('theta'))
    context.float32('delta').fill(0)
    return null
  },
}

/** Puts this peer's message, encoded, into `outbox`. Returns the root mean square error of the code relative to that of the message. */
export const encodeTask: ComputeTask<TensorOptions, { codingError: number }> = {
  name: 'noloco-encode',
  run(context, { codec, constants }) {
    const { kernels } = context
    const message = context.bytes('outbox')
    const size = context.float32('theta').length
    let error = 0
    let energy = 0
    for (const { start, theta, phi, own, partner } of slices(context)) {
      composeMessage(kernels, own, theta, phi, constants)
      if (!kernels.allFinite(own)) {
        throw new StarlingError('diverged', 'the parameters are not finite any more: training diverged', {})
      }
      // None of the strategy's codes rounds at random.
      codecs[codec].encode(kernels, own, message, size, start, 0)
      codecs[codec].decode(kernels, message, size, start, partner)
      error += kernels.squaredDistance(own, partner)
      energy += kernels.sumSquares(own)
    }
    return { codingError: energy === 0 ? 0 : Math.sqrt(error / energy) }
  },
}

/** What is in the inbox, before anything is done with it. */
export interface Inspection {
  /** Why the message is refused, if it is. */
  fault?: string
  /** Root mean square of (own - partner) / sqrt(2), own as it is and the partner's as decoded. */
  disagreement: number
}

/** Looks at the partner's message in `inbox`: well-formed, of our scale, and how far from ours. */
export const inspectTask: ComputeTask<TensorOptions, Inspection> = {
  name: 'noloco-inspect',
  run(context, { codec, constants }) {
    const { kernels } = context
    const message = context.bytes('inbox')
    const size = context.float32('theta').length
    let distance = 0
    let ownEnergy = 0
    let partnerEnergy = 0
    for (const { start, theta, phi, own, partner } of slices(context)) {
      try {
        codecs[codec].decode(kernels, message, size, start, partner)
      } catch (error) {
        if (error instanceof StarlingError && error.code === 'bad-tensor') {
          return { fault: error.message, disagreement: 0 }
        }
        throw error
      }
      composeMessage(kernels, own, theta, phi, constants)
      distance += kernels.squaredDistance(own, partner)
      ownEnergy += kernels.sumSquares(own)
      partnerEnergy += kernels.sumSquares(partner)
    }
    const ratio = Math.sqrt(partnerEnergy / ownEnergy)
    if (ownEnergy > 0 && !(ratio <= MAX_SCALE_RATIO && ratio >= 1 / MAX_SCALE_RATIO)) {
      return { fault: `its tensor is ${ratio.toPrecision(3)} times the size of ours`, disagreement: 0 }
    }
    return { disagreement: Math.sqrt(distance / (2 * size)) }
  },
}

/**
 * The outer step. Together, it takes for the partner's message
 *
 *     own + (decoded partner - decoded own),     own being this peer's message before coding,
 *
 * on both sides. The two errors of the code then enter with opposite signs: the sum over the pair, and so the mean of all replicas, is what
 * it would be with exact messages, and two equal replicas stay equal to the last bit. The error is left in the difference of the two, which
 * the next rounds halve.
 */
export const stepTask: ComputeTask<TensorOptions & { together: boolean }, null> = {
  name: 'noloco-step',
  run(context, { codec, constants, together }) {
    const { kernels } = context
    const size = context.float32('theta').length
    for (const { start, theta, phi, delta, own, partner } of slices(context)) {
      if (together) {
        codecs[codec].decode(kernels, context.bytes('outbox'), size, start, own)
        codecs[codec].decode(kernels, context.bytes('inbox'), size, start, partner)
        kernels.axpy(partner, -1, own)
        composeMessage(kernels, own, theta, phi, constants)
        kernels.axpy(partner, 1, own)
      } else {
        composeMessage(kernels, own, theta, phi, constants)
      }
      outerStep(kernels, { theta, phi, delta }, own, together ? partner : own, constants)
    }
    return null
  },
}

/** snapshot <- phi, for others to fetch. */
export const snapshotTask: ComputeTask<null, null> = {
  name: 'noloco-snapshot',
  run(context) {
    context.float32('snapshot').set(context.float32('phi'))
    return null
  },
}

/** theta, phi <- snapshot, delta <- 0: a replica fetched from another peer. Throws StarlingError 'bad-tensor', and changes nothing, when it is not finite. */
export const adoptTask: ComputeTask<null, null> = {
  name: 'noloco-adopt',
  run(context) {
    const snapshot = context.float32('snapshot')
    if (!context.kernels.allFinite(snapshot)) {
      throw new StarlingError('bad-tensor', 'the fetched replica holds values that are not finite', {})
    }
    context.float32('theta').set(snapshot)
    context.float32('phi').set(snapshot)
    context.float32('delta').fill(0)
    return null
  },
}

/** How replicas are given and taken. */
export const replicaTasks: ReplicaTasks = { snapshot: snapshotTask, adopt: adoptTask }

/** All of them, for the trainer thread's table. */
export const nolocoTasks = [
  startTask,
  encodeTask,
  inspectTask,
  stepTask,
  snapshotTask,
  adoptTask,
] as readonly ComputeTask<never, unknown>[]
