/**
 * What NoLoCo does with tensors, as compute tasks: pure functions that run where the parameters live, between two training steps. They go
 * through the model in slices of {@link TENSOR_SLICE} elements, so that the scratch vectors stay in the processor's cache and cost no memory.
 */
import type { VectorSpec } from '../../kernels/index.ts'
import { type CodecName, codecs } from '../codecs/index.ts'
import { StarlingError } from '../errors.ts'
import { DEFAULT_GUARDS, guardFault } from '../mixing/index.ts'
import type { ComputeContext, ComputeTask } from '../ports.ts'
import type { ReplicaTasks } from '../replica/index.ts'
import { composeMessage, outerStep } from './outer-step.ts'
import { constantsOf, type NolocoOptions, type OuterConstants } from './stability.ts'

/** Elements worked on at a time; 256 KiB per vector, and a multiple of the code's block. */
export const TENSOR_SLICE = 65_536

/** What every task needs to know. */
export interface TensorOptions {
  codec: CodecName
  constants: OuterConstants
}

/** Vectors of the strategy for a model of `size` elements. `theta` and `gradient` are the learner's. */
export function nolocoVectors(size: number, options: NolocoOptions): VectorSpec {
  const bytes = codecs[options.codec].bytes(size)
  const slice = Math.min(TENSOR_SLICE, size)
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
  for (let start = 0; start < theta.length; start += TENSOR_SLICE) {
    const end = Math.min(start + TENSOR_SLICE, theta.length)
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

/** What is known of this peer's message once it is encoded. */
export interface Encoded {
  /** Root mean square error of the code, relative to that of the message. */
  codingError: number
  /** How far training went since the last outer step: root mean square of message - phi. */
  progress: number
}

/** Puts this peer's message, encoded, into `outbox`. */
export const encodeTask: ComputeTask<TensorOptions, Encoded> = {
  name: 'noloco-encode',
  run(context, { codec, constants }) {
    const { kernels } = context
    const message = context.bytes('outbox')
    const size = context.float32('theta').length
    let error = 0
    let energy = 0
    let progress = 0
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
      progress += kernels.squaredDistance(own, phi)
    }
    return { codingError: energy === 0 ? 0 : Math.sqrt(error / energy), progress: Math.sqrt(progress / size) }
  },
}

/** What is in the inbox, before anything is done with it. */
export interface Inspection {
  /** Why the message is refused, if it is: no tensor of this model, or one that is far away as no honest one can be. */
  fault?: { reason: 'bad-tensor' | 'too-far'; message: string }
  /** Root mean square of (own - partner) / sqrt(2), own as it is and the partner's as decoded. */
  disagreement: number
  /** Root mean square of own - partner, both as decoded: the same number on both sides. NaN when the message cannot be decoded. */
  distance: number
}

/** Looks at the partner's message in `inbox`, with this peer's in `outbox`: well-formed, past the guards of protocols/mixing, and how far from ours. */
export const inspectTask: ComputeTask<TensorOptions, Inspection> = {
  name: 'noloco-inspect',
  run(context, { codec, constants }) {
    const { kernels } = context
    const message = context.bytes('inbox')
    const size = context.float32('theta').length
    let coded = 0
    let squares = 0
    let ownEnergy = 0
    let partnerEnergy = 0
    for (const { start, theta, phi, own, partner } of slices(context)) {
      try {
        codecs[codec].decode(kernels, message, size, start, partner)
        // Our own is well-formed, unless this peer is one that lies (protocols/attacks).
        codecs[codec].decode(kernels, context.bytes('outbox'), size, start, own)
      } catch (error) {
        if (error instanceof StarlingError && error.code === 'bad-tensor') {
          return { fault: { reason: 'bad-tensor', message: error.message }, disagreement: 0, distance: Number.NaN }
        }
        throw error
      }
      coded += kernels.squaredDistance(own, partner)
      composeMessage(kernels, own, theta, phi, constants)
      squares += kernels.squaredDistance(own, partner)
      ownEnergy += kernels.sumSquares(own)
      partnerEnergy += kernels.sumSquares(partner)
    }
    const [own, partner, apart] = [ownEnergy, partnerEnergy, squares].map(Math.sqrt) as [number, number, number]
    const found = { disagreement: apart / Math.sqrt(2 * size), distance: Math.sqrt(coded / size) }
    const refused = guardFault(own, partner, apart, DEFAULT_GUARDS)
    if (refused === 'norm') {
      const message = `its tensor is ${(partner / own).toPrecision(3)} times the size of ours`
      return { ...found, fault: { reason: 'bad-tensor', message } }
    }
    if (refused === 'distance') {
      const message = `its tensor is ${(apart / Math.max(own, partner)).toPrecision(2)} times its size away from ours`
      return { ...found, fault: { reason: 'too-far', message } }
    }
    return found
  },
}

/**
 * The outer step. Together, it takes for the partner's message
 *
 *     own + share (decoded partner - decoded own),     own being this peer's message before coding,
 *
 * on both sides, with one `share` for both (see reach.ts); 0 is the step alone. The two errors of the code then enter with opposite signs: the sum over the pair, and so the mean of all replicas, is what
 * it would be with exact messages, and two equal replicas stay equal to the last bit. The error is left in the difference of the two, which
 * the next rounds halve.
 */
export const stepTask: ComputeTask<TensorOptions & { share: number }, null> = {
  name: 'noloco-step',
  run(context, { codec, constants, share }) {
    const { kernels } = context
    const together = share > 0
    const size = context.float32('theta').length
    for (const { start, theta, phi, delta, own, partner } of slices(context)) {
      if (together) {
        codecs[codec].decode(kernels, context.bytes('outbox'), size, start, own)
        codecs[codec].decode(kernels, context.bytes('inbox'), size, start, partner)
        kernels.axpy(partner, -1, own)
        if (share < 1) {
          kernels.scale(partner, share)
        }
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
