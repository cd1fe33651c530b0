/**
 * Memories of what a code dropped, one per sender. A code that keeps little of a vector (top-k, sign) makes no progress by itself, for what it
 * drops is lost; a memory sends it later. All work slice by slice over plain vectors, so the state outlives a process in a checkpoint.
 */
import type { Kernels } from '../../kernels/index.ts'
import type { TensorCodec } from '../codecs/index.ts'

/** Names of the vectors that a sender may keep, of the model's size and zero at the start. */
export type StateName = 'error' | 'estimate'

/** Which memory, and its constant. */
export type FeedbackOptions =
  | { memory: 'none' }
  /** `beta`: share of the error that lives on to the next message, above 0 and at most 1. 1 is classic error feedback, 0.95 SparseLoCo's. */
  | { memory: 'decay'; beta: number }
  | { memory: 'ef21' }
  /** `eta`: gain of the error, from 0 (which is EF21) to 1; about the code's share of kept values, k/d for top-k. */
  | { memory: 'econtrol'; eta: number }

/** Name of a memory. */
export type MemoryName = FeedbackOptions['memory']

/** One slice of a tensor on its way into a message. All views have the length of `values`; see {@link TensorCodec} for where slices are cut. */
export interface FeedbackSlice {
  /** What is to be sent: a gradient, or the drift of some local steps. Not changed. */
  values: Float32Array
  /** The sender's state, as the memory's `state` names it. Changed. */
  state: Readonly<Partial<Record<StateName, Float32Array>>>
  /** Two vectors whose contents do not matter before or after. */
  scratch: readonly [Float32Array, Float32Array]
  /** The whole message; its slice is written. */
  message: Uint8Array
  /** Elements of the tensor, first of the slice, and what stochastic codes draw from. */
  size: number
  start: number
  seed: number
}

/** A memory. */
export interface Feedback {
  readonly name: MemoryName
  /** Vectors that a sender keeps. */
  readonly state: readonly StateName[]
  /**
   * What receivers do with the mean of the decoded messages: use it as the update, or add it to a running sum that is the update. The sum is
   * common state: every receiver must have added every message, so at any change of the members all set their estimates and the sum to 0.
   */
  readonly receivers: 'use' | 'accumulate'
  /** Encodes what is to be sent now and remembers the rest. Throws KernelError 'not-finite'; the state is then not to be used any more. */
  send(kernels: Kernels, codec: TensorCodec, slice: FeedbackSlice): void
}

/** The memory with these constants. Throws RangeError for a constant out of its range. */
export function createFeedback(options: FeedbackOptions): Feedback {
  switch (options.memory) {
    case 'none':
      return none
    case 'decay':
      return decay(options.beta)
    case 'ef21':
      return ef21
    case 'econtrol':
      return econtrol(options.eta)
  }
}

/** Encodes `values` into the slice of the message and leaves in `decoded`, which may be `values` itself, what receivers will read. */
function code(
  kernels: Kernels,
  codec: TensorCodec,
  slice: FeedbackSlice,
  values: Float32Array,
  decoded: Float32Array,
): void {
  const { message, size, start, seed } = slice
  codec.encode(kernels, values, message, size, start, seed)
  codec.decode(kernels, message, size, start, decoded)
}

function kept({ state }: FeedbackSlice, name: StateName): Float32Array {
  const vector = state[name]
  if (vector === undefined) {
    throw new RangeError(`this memory keeps a vector '${name}', which the slice does not have`)
  }
  return vector
}

/** No memory: what the code drops is lost. Fit for codes without bias. */
const none: Feedback = {
  name: 'none',
  state: [],
  receivers: 'use',
  send(kernels, codec, { values, message, size, start, seed }) {
    codec.encode(kernels, values, message, size, start, seed)
  },
}

/**
 * Error feedback (Seide et al. 2014; Karimireddy et al. 2019) with decay, as in SparseLoCo (arXiv 2508.15706, algorithm 1):
 *
 *     e <- beta e + g;   send C(e);   e <- e - C(e)
 */
function decay(beta: number): Feedback {
  if (!(beta > 0 && beta <= 1)) {
    throw new RangeError(`beta must be above 0 and at most 1, not ${beta}`)
  }
  return {
    name: 'decay',
    state: ['error'],
    receivers: 'use',
    send(kernels, codec, slice) {
      const error = kept(slice, 'error')
      const [sent] = slice.scratch
      kernels.scale(error, beta)
      kernels.axpy(error, 1, slice.values)
      code(kernels, codec, slice, error, sent)
      kernels.axpy(error, -1, sent)
    },
  }
}

/**
 * EF21 (Richtárik et al. 2021, arXiv 2106.05203, algorithm 2): sends the difference to an estimate h of its own vector that all receivers hold,
 *
 *     send C(g - h);   h <- h + C(g - h)
 *
 * Exact in the limit without noise, whatever the members' differences; noise in g goes into h undamped.
 */
const ef21: Feedback = {
  name: 'ef21',
  state: ['estimate'],
  receivers: 'accumulate',
  send(kernels, codec, slice) {
    const estimate = kept(slice, 'estimate')
    const [difference] = slice.scratch
    difference.set(slice.values)
    kernels.axpy(difference, -1, estimate)
    code(kernels, codec, slice, difference, difference)
    kernels.axpy(estimate, 1, difference)
  },
}

/**
 * EControl (Gao, Islamov & Stich 2023, arXiv 2311.05645, algorithm 2): EF21 whose error e is fed back with a gain,
 *
 *     send D = C(eta e + g - h);   e <- e + g - h - D;   h <- h + D
 *
 * Deviation: h starts at 0 instead of a first vector sent in full.
 */
function econtrol(eta: number): Feedback {
  if (!(eta >= 0 && eta <= 1)) {
    throw new RangeError(`eta must be from 0 to 1, not ${eta}`)
  }
  return {
    name: 'econtrol',
    state: ['error', 'estimate'],
    receivers: 'accumulate',
    send(kernels, codec, slice) {
      const error = kept(slice, 'error')
      const estimate = kept(slice, 'estimate')
      const [difference, sent] = slice.scratch
      difference.set(slice.values)
      kernels.axpy(difference, -1, estimate)
      sent.set(difference)
      kernels.axpy(sent, eta, error)
      code(kernels, codec, slice, sent, sent)
      kernels.axpy(error, 1, difference)
      kernels.axpy(error, -1, sent)
      kernels.axpy(estimate, 1, sent)
    },
  }
}
