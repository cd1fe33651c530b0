/**
 * What gossip does with parameters, as compute tasks: they run where the parameters live, between two training steps, and go through a fragment in slices
 * of {@link SLICE} elements, so that scratch stays small whatever the fragment is.
 */
import { KernelError, type VectorSpec } from '../../kernels/index.ts'
import { type CodecName, codecs } from '../codecs/index.ts'
import { StarlingError } from '../errors.ts'
import {
  type Correction,
  capped,
  clipped,
  coefficientsOf,
  combine,
  correctVariance,
  DEFAULT_GUARDS,
  guardFault,
  type Measured,
  type MixingRule,
  mean,
  measure,
  NO_GUARDS,
  nearest,
  partsIn,
  type TensorPart,
  targetVariances,
} from '../mixing/index.ts'
import type { ComputeContext, ComputeTask, PeerName } from '../ports.ts'
import type { ReplicaTasks } from '../replica/index.ts'
import type { GossipOptions } from './options.ts'
import { type Fragment, fragmentPlan } from './plan.ts'

/** Elements worked on at a time; 256 KiB per vector, and a multiple of every code's block. */
export const SLICE = 65_536

/** Others' fragments that are mixed at once, at most. */
export const GROUP = 15

/** Memory for fragments that have come and are not mixed yet, and the least and most of them. */
const INBOX_BYTES = 64 * 1024 ** 2
const LEAST_SLOTS = GROUP + 1
const MOST_SLOTS = 64

/** Own fragments on offer at once, where they are pulled: that of this turn and those before that others are still fetching. */
export const OUTBOX_SLOTS = 3

/** Bytes from one slot to the next: codes begin at a multiple of 4 bytes, vectors at one of 64. */
export const strideOf = (largest: number): number => Math.ceil(largest / 64) * 64

/** Number of slots of the inbox. */
export function inboxSlots(largest: number): number {
  return Math.min(MOST_SLOTS, Math.max(LEAST_SLOTS, Math.floor(INBOX_BYTES / strideOf(largest))))
}

/** Vectors of the strategy for a model of `size` elements. */
export function gossipVectors(size: number, options: GossipOptions): VectorSpec {
  const { largest, fragments } = fragmentPlan(size, options)
  const stride = strideOf(largest)
  const slice = Math.min(SLICE, fragments[0]!.end)
  return {
    // A copy of theta that others fetch while this peer trains on; and where a replica fetched from another lands.
    snapshot: { type: 'float32', length: size },
    'gossip-outbox': { type: 'uint8', length: OUTBOX_SLOTS * stride },
    'gossip-inbox': { type: 'uint8', length: inboxSlots(largest) * stride },
    // The own fragment as it is and as others would read it.
    'gossip-own': { type: 'float32', length: slice },
    'gossip-code': { type: 'uint8', length: stride },
    'gossip-messages': { type: 'float32', length: GROUP * slice },
    'gossip-pull': { type: 'float32', length: slice },
    'gossip-difference': { type: 'float32', length: slice },
  }
}

/** The fragment at work. */
export interface FragmentArguments {
  fragment: Fragment
  codec: CodecName
  /** Of codes that round at random; the same at every peer in one turn, see {@link mixTask}. */
  seed: number
  stride: number
}

/** Encodes the fragment of theta into `message`. Throws StarlingError 'diverged'. */
function encode(context: ComputeContext, { fragment, codec, seed }: FragmentArguments, message: Uint8Array): void {
  const { kernels } = context
  const own = context.float32('theta').subarray(fragment.start, fragment.end)
  for (let at = 0; at < own.length; at += SLICE) {
    diverging(() => codecs[codec].encode(kernels, own.subarray(at, at + SLICE), message, own.length, at, seed))
  }
}

/** Does `work`; values that no code can hold are this peer's own fault. Throws StarlingError 'diverged'. */
export function diverging<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (error instanceof KernelError && error.code === 'not-finite') {
      const text = 'the parameters are not finite any more: training diverged'
      throw new StarlingError('diverged', text, {}, { cause: error })
    }
    throw error
  }
}

/** Puts the fragment, encoded, into a slot of the outbox. Returns the root mean square error of the code relative to that of the fragment. */
export const encodeTask: ComputeTask<FragmentArguments & { slot: number }, { codingError: number }> = {
  name: 'gossip-encode',
  run(context, args) {
    const { kernels } = context
    const { fragment, codec, slot, stride } = args
    const message = context.bytes('gossip-outbox').subarray(slot * stride, slot * stride + fragment.bytes)
    encode(context, args, message)
    const own = context.float32('theta').subarray(fragment.start, fragment.end)
    let error = 0
    for (let at = 0; at < own.length; at += SLICE) {
      const slice = own.subarray(at, at + SLICE)
      const decoded = context.float32('gossip-own').subarray(0, slice.length)
      codecs[codec].decode(kernels, message, own.length, at, decoded)
      error += kernels.squaredDistance(slice, decoded)
    }
    const energy = kernels.sumSquares(own)
    return { codingError: energy === 0 ? 0 : Math.sqrt(error / energy) }
  },
}

/** A fragment in the inbox. */
export interface Held {
  peer: PeerName
  slot: number
  /** Fair weight, where the own model has 1. */
  weight: number
}

/** What {@link mixTask} works on. */
export interface MixArguments extends FragmentArguments {
  messages: readonly Held[]
  rule: GossipOptions['rule']
  /** How many of the messages to take for hostile. */
  faulty: number
  /** Whether more is refused than what is no number. */
  guards: boolean
  /** Weight matrices of the model, for the variance guard; none: no guard. */
  matrices: readonly TensorPart[]
}

/** What became of one message. */
export interface MixedMessage {
  peer: PeerName
  /** 0 when it was left out. */
  coefficient: number
  /** To the own fragment, and in units of the larger norm of the two. */
  distance: number
  relative: number
  /** Why a guard refused it; 'bad-tensor' is proven to be its author's fault. */
  refused?: 'bad-tensor' | 'not-finite' | 'norm' | 'distance'
}

/** What became of a group. */
export interface MixedGroup {
  messages: MixedMessage[]
  /** Root mean square of (own - other) / sqrt(2) over those that the guards let pass; 0 without any. */
  disagreement: number
  corrected: Correction[]
}

/** The rule by its name. */
export const ruleOf = (rule: GossipOptions['rule'], faulty: number): MixingRule =>
  rule === 'nearest' ? nearest(faulty) : rule === 'clipped' ? clipped({ faulty }) : mean

/**
 * Mixes a group of others' fragments into theta, by the parts of protocols/mixing. What is mixed is not what a message decodes to but
 *
 *     own + (decoded message - decoded own),     own being coded as it would have been for others,
 *
 * so that the error of the code, common to equal values, drops out: equal models stay equal to the bit, and what an agreeing swarm mixes is not noise.
 */
export const mixTask: ComputeTask<MixArguments, MixedGroup> = {
  name: 'gossip-mix',
  run(context, args) {
    const { kernels } = context
    const { fragment, codec, stride, messages } = args
    const theta = context.float32('theta').subarray(fragment.start, fragment.end)
    const code = context.bytes('gossip-code').subarray(0, fragment.bytes)
    const room = context.float32('gossip-messages')
    const mirrors = context.float32('gossip-own')
    const width = mirrors.length
    encode(context, args, code)

    /** What the messages say of the slice that begins at `at`, those that count. */
    const read = (at: number, own: Float32Array, counts: (i: number) => boolean): Float32Array[] => {
      const mirror = mirrors.subarray(0, own.length)
      codecs[codec].decode(kernels, code, theta.length, at, mirror)
      return messages.map(({ slot }, i) => {
        const values = room.subarray(i * width, i * width + own.length)
        if (counts(i)) {
          const bytes = context.bytes('gossip-inbox').subarray(slot * stride, slot * stride + fragment.bytes)
          codecs[codec].decode(kernels, bytes, theta.length, at, values)
          kernels.axpy(values, -1, mirror)
          kernels.axpy(values, 1, own)
        }
        return values
      })
    }

    const malformed = messages.map(({ slot }) => {
      const bytes = context.bytes('gossip-inbox').subarray(slot * stride, slot * stride + fragment.bytes)
      return isMalformed(context, codec, bytes, theta.length)
    })
    const squares = messages.map(() => ({ norm: 0, distance: 0 }))
    for (let at = 0; at < theta.length; at += SLICE) {
      const own = theta.subarray(at, at + SLICE)
      const found = read(at, own, (i) => !malformed[i])
      const named = found.map((values, i) => ({ peer: messages[i]!.peer, values }))
      for (const [i, { norm, distance }] of measure(kernels, own, named, NO_GUARDS).entries()) {
        squares[i]!.norm += norm ** 2
        squares[i]!.distance += distance ** 2
      }
    }
    const ownNorm = Math.sqrt(kernels.sumSquares(theta))
    const measured = messages.map(({ peer }, i): Measured => {
      const norm = Math.sqrt(squares[i]!.norm)
      const distance = Math.sqrt(squares[i]!.distance)
      if (malformed[i] || !Number.isFinite(norm + distance)) {
        return { peer, norm: Number.NaN, distance: Number.NaN, refused: 'not-finite' }
      }
      const refused = guardFault(ownNorm, norm, distance, args.guards ? DEFAULT_GUARDS : NO_GUARDS)
      return { peer, norm, distance, ...(refused === undefined ? {} : { refused }) }
    })
    const [ownWeight, ...weights] = capped([1, ...messages.map(({ weight }) => weight)])
    const coefficients = coefficientsOf(measured, weights, ownWeight!, ruleOf(args.rule, args.faulty))

    const corrected: Correction[] = []
    for (let at = 0; at < theta.length && coefficients.some((coefficient) => coefficient > 0); at += SLICE) {
      const own = theta.subarray(at, at + SLICE)
      const values = read(at, own, (i) => coefficients[i]! > 0)
      const named = values.map((each, i) => ({ peer: messages[i]!.peer, values: each }))
      const from = fragment.start + at
      const parts = partsIn(args.matrices, { start: from, end: from + own.length })
      const targets = targetVariances(own, named, coefficients, parts)
      const scratch = {
        pull: context.float32('gossip-pull'),
        difference: context.float32('gossip-difference'),
      }
      combine(kernels, own, named, coefficients, scratch)
      corrected.push(...correctVariance(own, parts, targets))
    }
    const passed = measured.filter(({ refused }) => refused === undefined)
    const energy = passed.reduce((sum, { distance }) => sum + distance ** 2, 0)
    return {
      messages: measured.map(({ peer, distance, norm, refused }, i) => ({
        peer,
        coefficient: coefficients[i]!,
        distance,
        relative: distance / Math.max(norm, ownNorm, Number.MIN_VALUE),
        ...(refused === undefined ? {} : { refused: malformed[i] ? ('bad-tensor' as const) : refused }),
      })),
      disagreement: passed.length === 0 ? 0 : Math.sqrt(energy / (2 * passed.length * theta.length)),
      corrected,
    }
  },
}

/** Whether the bytes are no code of a fragment, or hold values that are not finite. */
function isMalformed(context: ComputeContext, codec: CodecName, bytes: Uint8Array, size: number): boolean {
  const scratch = context.float32('gossip-own')
  for (let at = 0; at < size; at += SLICE) {
    try {
      codecs[codec].decode(context.kernels, bytes, size, at, scratch.subarray(0, Math.min(SLICE, size - at)))
    } catch (error) {
      if (error instanceof StarlingError && error.code === 'bad-tensor') {
        return true
      }
      throw error
    }
  }
  return false
}

/** snapshot <- theta, for others to fetch. */
const snapshotTask: ComputeTask<null, null> = {
  name: 'gossip-snapshot',
  run(context) {
    context.float32('snapshot').set(context.float32('theta'))
    return null
  },
}

/** theta <- snapshot. */
const adoptTask: ComputeTask<null, null> = {
  name: 'gossip-adopt',
  run(context) {
    const snapshot = context.float32('snapshot')
    if (!context.kernels.allFinite(snapshot)) {
      throw new StarlingError('bad-tensor', 'the fetched replica holds values that are not finite', {})
    }
    context.float32('theta').set(snapshot)
    return null
  },
}

/** How replicas are given and taken. */
export const replicaTasks: ReplicaTasks = { snapshot: snapshotTask, adopt: adoptTask }

/** All of them, for the trainer thread's table. */
export const gossipTasks = [encodeTask, mixTask, snapshotTask, adoptTask] as readonly ComputeTask<never, unknown>[]
