/**
 * What gossip through replicas does with parameters. Only these tasks write to replicas, so that what is pulled is checked before it is read, and nothing is torn. They go
 * through a fragment in slices, like those of ../tasks.ts.
 */
import type { VectorSpec } from '../../../kernels/index.ts'
import { type CodecName, codecs } from '../../codecs/index.ts'
import { StarlingError } from '../../errors.ts'
import { createFeedback, followReplica, stepTowardsReplicas } from '../../feedback/index.ts'
import { coefficientsOf, DEFAULT_GUARDS, measure, NO_GUARDS } from '../../mixing/index.ts'
import type { ComputeContext, ComputeTask, PeerName } from '../../ports.ts'
import { type GossipOptions, replicaConstants } from '../options.ts'
import { type Fragment, fragmentPlan } from '../plan.ts'
import { diverging, type MixedGroup, ruleOf, SLICE, strideOf } from '../tasks.ts'

/** Differences that are added to replicas in one go. */
export const BATCH = 8

/** Fragments that are pulled whole at once. */
export const LANDINGS = 2

/** Vector of the replica in a slot. */
export const replicaVector = (slot: number): string => `gossip-replica-${slot}`

/** Vectors of the strategy for a model of `size` elements. */
export function replicaVectors(size: number, options: GossipOptions): VectorSpec {
  const { fragments, largest } = fragmentPlan(size, options)
  const { neighbours } = replicaConstants(options)
  const longest = fragments[0]!.end
  const slice = Math.min(SLICE, longest)
  const model = { type: 'float32' as const, length: size }
  return {
    // As without replicas: a copy of theta that others fetch, and where one fetched from another lands.
    snapshot: model,
    // What all followers of this peer hold of it, and what it holds of those that it follows.
    'gossip-public': model,
    ...Object.fromEntries(Array.from({ length: neighbours }, (_, slot) => [replicaVector(slot), model])),
    'gossip-outbox': { type: 'uint8', length: strideOf(largest) },
    'gossip-inbox': { type: 'uint8', length: BATCH * strideOf(largest) },
    // Fragments of the public replica that neighbours fetch, one for each, and those that are fetched from others.
    'gossip-copies': { type: 'float32', length: neighbours * longest },
    'gossip-landing': { type: 'float32', length: LANDINGS * longest },
    'gossip-difference': { type: 'float32', length: slice },
    'gossip-decoded': { type: 'float32', length: slice },
  }
}

const memory = createFeedback({ memory: 'ef21' })

/** public <- theta, all of it: a public replica that begins anew. */
export const beginTask: ComputeTask<null, null> = {
  name: 'gossip-begin',
  run(context) {
    context.float32('gossip-public').set(context.float32('theta'))
    return null
  },
}

/** What {@link sendTask} works on. */
export interface SendArguments {
  fragment: Fragment
  codec: CodecName
  /** Of codes that round at random. */
  seed: number
}

/**
 * outbox <- C(theta - public), public <- public + that. Returns the sum of squares of public, and how far theta is from it relative to its own norm. Throws
 * StarlingError 'diverged'.
 */
export const sendTask: ComputeTask<SendArguments, { energy: number; codingError: number }> = {
  name: 'gossip-send',
  run(context, { fragment, codec, seed }) {
    const { kernels } = context
    const theta = context.float32('theta').subarray(fragment.start, fragment.end)
    const estimate = context.float32('gossip-public').subarray(fragment.start, fragment.end)
    const message = context.bytes('gossip-outbox').subarray(0, fragment.bytes)
    const size = theta.length
    for (let start = 0; start < size; start += SLICE) {
      const values = theta.subarray(start, start + SLICE)
      const [a, b] = scratchOf(context, values.length)
      diverging(() =>
        memory.send(kernels, codecs[codec], {
          values,
          state: { estimate: estimate.subarray(start, start + SLICE) },
          scratch: [a, b],
          message,
          size,
          start,
          seed,
        }),
      )
    }
    const norm = kernels.sumSquares(theta)
    return {
      energy: kernels.sumSquares(estimate),
      codingError: norm === 0 ? 0 : Math.sqrt(kernels.squaredDistance(theta, estimate) / norm),
    }
  },
}

/** A difference in slot number `inbox` of the inbox, for the replica in `slot`. */
export interface Step {
  slot: number
  fragment: Fragment
  inbox: number
  energy: number
}

/** 'differs': the sum of squares is not the author's, so the replica is not its own. */
export type Followed = 'followed' | 'bad-tensor' | 'differs'

/** replica <- replica + the difference, for each. A replica whose difference did not come out as 'followed' is of no use any more. */
export const followTask: ComputeTask<{ codec: CodecName; stride: number; steps: readonly Step[] }, Followed[]> = {
  name: 'gossip-follow',
  run(context, { codec, stride, steps }) {
    const { kernels } = context
    return steps.map(({ slot, fragment, inbox, energy }) => {
      const replica = context.float32(replicaVector(slot)).subarray(fragment.start, fragment.end)
      const bytes = context.bytes('gossip-inbox').subarray(inbox * stride, inbox * stride + fragment.bytes)
      try {
        for (let start = 0; start < replica.length; start += SLICE) {
          const slice = replica.subarray(start, start + SLICE)
          followReplica(
            kernels,
            codecs[codec],
            { bytes, size: replica.length, start },
            slice,
            scratchOf(context, slice.length)[0],
          )
        }
      } catch (error) {
        if (error instanceof StarlingError && error.code === 'bad-tensor') {
          return 'bad-tensor'
        }
        throw error
      }
      return kernels.sumSquares(replica) === energy ? 'followed' : 'differs'
    })
  },
}

/** replica <- the fragment in a landing place; false, and nothing changes, where it is not finite. */
export const landTask: ComputeTask<{ slot: number; fragment: Fragment; landing: number }, boolean> = {
  name: 'gossip-land',
  run(context, { slot, fragment, landing }) {
    const room = context.float32('gossip-landing')
    const longest = room.length / LANDINGS
    const values = room.subarray(landing * longest, landing * longest + fragment.end - fragment.start)
    if (!context.kernels.allFinite(values)) {
      return false
    }
    context.float32(replicaVector(slot)).set(values, fragment.start)
    return true
  },
}

/** A place among the copies <- the fragment of the public replica. */
export const copyTask: ComputeTask<{ fragment: Fragment; at: number }, null> = {
  name: 'gossip-copy',
  run(context, { fragment, at }) {
    const values = context.float32('gossip-public').subarray(fragment.start, fragment.end)
    context.float32('gossip-copies').set(values, at)
    return null
  },
}

/** What {@link stepTask} works on. */
export interface StepArguments {
  fragment: Fragment
  replicas: readonly { peer: PeerName; slot: number }[]
  rule: GossipOptions['rule']
  /** How many of the replicas to take for hostile. */
  faulty: number
  /** Whether more is refused than what is no number. */
  guards: boolean
  gamma: number
}

/**
 * theta <- theta + gamma · sum over j of c_j (x̂_j - x̂), x̂ being the own public replica, which is also the pivot from which the guards and the rule measure: between
 * replicas, what the code dropped is missing on both sides. No variance guard: one step takes too little for it to see.
 */
export const stepTask: ComputeTask<StepArguments, MixedGroup> = {
  name: 'gossip-step',
  run(context, { fragment, replicas, rule, faulty, guards, gamma }) {
    const { kernels } = context
    const of = (name: string): Float32Array => context.float32(name).subarray(fragment.start, fragment.end)
    const [theta, own] = [of('theta'), of('gossip-public')]
    const messages = replicas.map(({ peer, slot }) => ({ peer, values: of(replicaVector(slot)) }))
    const ownNorm = Math.sqrt(kernels.sumSquares(own))
    const measured = measure(kernels, own, messages, guards ? DEFAULT_GUARDS : NO_GUARDS)
    const coefficients = coefficientsOf(
      measured,
      messages.map(() => 1),
      1,
      ruleOf(rule, faulty),
    )
    const neighbours = messages.flatMap(({ values }, i) =>
      coefficients[i]! > 0 ? [{ replica: values, weight: coefficients[i]! }] : [],
    )
    stepTowardsReplicas(kernels, theta, own, neighbours, gamma)
    const passed = measured.filter(({ refused }) => refused === undefined)
    const energy = passed.reduce((sum, { distance }) => sum + distance ** 2, 0)
    return {
      messages: measured.map(({ peer, distance, norm, refused }, i) => ({
        peer,
        coefficient: coefficients[i]!,
        distance,
        relative: distance / Math.max(norm, ownNorm, Number.MIN_VALUE),
        ...(refused === undefined ? {} : { refused }),
      })),
      disagreement: passed.length === 0 ? 0 : Math.sqrt(energy / (2 * passed.length * theta.length)),
      corrected: [],
    }
  },
}

function scratchOf(context: ComputeContext, length: number): [Float32Array, Float32Array] {
  return [
    context.float32('gossip-decoded').subarray(0, length),
    context.float32('gossip-difference').subarray(0, length),
  ]
}

/** All of them, for the trainer thread's table. */
export const replicaGossipTasks = [
  beginTask,
  sendTask,
  followTask,
  landTask,
  copyTask,
  stepTask,
] as readonly ComputeTask<never, unknown>[]
