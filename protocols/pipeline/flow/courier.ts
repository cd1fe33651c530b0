/** Handing tensors from peer to peer: short ones ride in the question, long ones are pulled by the receiver, which answers when it has them. */
import { StarlingError } from '../../errors.ts'
import type { Answerer, AskOptions, PeerName, Swarm } from '../../ports.ts'
import {
  type BackwardQuestion,
  backwardQuestion,
  type ForwardQuestion,
  forwardQuestion,
  keyOf,
  MAX_INLINE,
  METHODS,
  type PassId,
  PIECE_BYTES,
  passOf,
  type TensorHead,
  tensorQuestion,
} from '../messages.ts'
import type { LossReason } from '../types.ts'

/** Whole time for a question that hands a tensor over, ms, beside what its tensor takes at {@link SLOWEST}. */
export const HAND_TIMEOUT = 5_000

/** Rate at which a tensor must at least move, bytes per ms (2 Mbit/s). */
const SLOWEST = 250

/** How often a question without an answer is asked again: it or its answer may have been lost, and all of them may be asked twice. */
const HAND_TRIES = 3

/** Whole time for one piece of a tensor, ms. */
const PIECE_TIMEOUT = 10_000

/** Pieces asked for at once. */
const OUTSTANDING = 2

/** Refusals that pass: the other one has no room just now, or has not heard yet what we are. */
const LATER: ReadonlySet<string> = new Set([
  'busy',
  'not-a-data-peer',
  'peer-busy',
  'rate-limited',
  'ask-overloaded',
  'not-introduced',
])

/** Pause before the next try after such a refusal, ms, and how long they are put up with. */
const LATER_PAUSE = 100
const LATER_LIMIT = 15_000

/** A tensor on offer to one peer. */
interface Offer {
  to: PeerName
  bytes: Uint8Array
}

/** What the courier counted. */
export interface Moved {
  sent: number
  received: number
}

/** A tensor to be handed over, and to whom. `hop` is that of the receiver. */
export type HandOver = { to: PeerName; tensor: Uint8Array } & (
  | { method: 'forward'; question: Omit<ForwardQuestion, keyof TensorHead> & Omit<TensorHead, 'bytes' | 'size'> }
  | { method: 'backward'; question: Omit<BackwardQuestion, keyof TensorHead> & Omit<TensorHead, 'bytes' | 'size'> }
)

export class Courier {
  readonly #swarm: Swarm
  /** By pass, direction and hop; bounded by the slots of this peer. */
  readonly #offers = new Map<string, Offer>()
  /** What this peer answers itself with; bounded by the methods. */
  readonly #answerers = new Map<string, Answerer>()
  /** Bytes of tensors since the start. */
  readonly moved: Moved = { sent: 0, received: 0 }

  constructor(swarm: Swarm) {
    this.#swarm = swarm
  }

  /** Answers a method, also where this peer asks itself: two stages of a path may lie here. Returns how to stop that. */
  answer(method: string, answerer: Answerer): () => void {
    this.#answerers.set(method, answerer)
    const stop = this.#swarm.answer(method, answerer)
    return () => {
      stop()
      this.#answerers.delete(method)
    }
  }

  /** Answers questions for pieces of what is on offer. */
  serve(): () => void {
    return this.answer(METHODS.tensor, (from, bytes) => this.#piece(from, bytes))
  }

  /** As the transport's, and to this peer itself too. */
  async ask(peer: PeerName, method: string, question: Uint8Array, options: AskOptions): Promise<Uint8Array> {
    if (peer !== this.#swarm.self) {
      return this.#swarm.ask(peer, method, question, options)
    }
    const answerer = this.#answerers.get(method)
    if (answerer === undefined) {
      throw new StarlingError('unknown-method', `this peer does not answer ${method}`, { method })
    }
    return answerer(peer, question, options.signal ?? new AbortController().signal)
  }

  /** Resolves when the receiver has the tensor. Throws what the question failed with. */
  async handOver(order: HandOver, signal: AbortSignal): Promise<void> {
    const { to, tensor, question, method } = order
    const size = tensor.byteLength
    const head = { ...question, size, ...(size <= MAX_INLINE ? { bytes: new Uint8Array(tensor) } : {}) }
    const bytes =
      order.method === 'forward'
        ? forwardQuestion.encode(head as ForwardQuestion)
        : backwardQuestion.encode(head as BackwardQuestion)
    const key = offerKey(question, method === 'backward', question.hop)
    if (size > MAX_INLINE) {
      this.#offers.set(key, { to, bytes: tensor })
    }
    try {
      await this.#persist(to, METHODS[method], bytes, HAND_TIMEOUT + size / SLOWEST, signal)
      this.moved.sent += size
    } finally {
      this.#offers.delete(key)
    }
  }

  /** Tensor of a question <- its bytes, or the peer that asked. Throws 'bad-tensor', which is proven to be that peer's fault, or what a question for a piece failed with. */
  async receive(
    from: PeerName,
    question: PassId & TensorHead & { hop: number },
    backward: boolean,
    into: Uint8Array,
    signal: AbortSignal,
  ): Promise<void> {
    const { bytes, size, hop } = question
    if (bytes !== undefined) {
      if (bytes.byteLength !== size) {
        throw new StarlingError('bad-tensor', `${bytes.byteLength} bytes instead of ${size}`, { peer: from })
      }
      into.set(bytes)
    } else {
      const pieces = Math.ceil(size / PIECE_BYTES)
      // One that fails ends the others: nothing is written after this has thrown.
      let failed = false
      let next = 0
      const pull = async (): Promise<void> => {
        for (let piece = next++; piece < pieces; piece = next++) {
          const at = piece * PIECE_BYTES
          const length = Math.min(PIECE_BYTES, size - at)
          const ask = tensorQuestion.encode({ ...passOf(question), hop, backward, at })
          const options = { timeout: PIECE_TIMEOUT, maxAnswer: length, signal }
          const data = await this.ask(from, METHODS.tensor, ask, options)
          if (data.byteLength !== length) {
            throw new StarlingError('bad-tensor', `a piece of ${data.byteLength} bytes instead of ${length}`, {
              peer: from,
            })
          }
          signal.throwIfAborted()
          if (failed) {
            return
          }
          into.set(data, at)
        }
      }
      try {
        await Promise.all(Array.from({ length: Math.min(OUTSTANDING, pieces) }, pull))
      } finally {
        failed = true
      }
    }
    this.moved.received += size
  }

  #piece(from: PeerName, bytes: Uint8Array): Uint8Array {
    const question = tensorQuestion.decode(bytes)
    const offer = this.#offers.get(offerKey(question, question.backward, question.hop))
    if (offer === undefined || offer.to !== from || question.at >= offer.bytes.byteLength) {
      throw new StarlingError('no-such-tensor', 'this peer has no such tensor for you', {})
    }
    // A copy: the slot may be written to while the answer is on its way.
    return new Uint8Array(offer.bytes.subarray(question.at, question.at + PIECE_BYTES))
  }

  /** Asks until there is an answer, a refusal that will not pass, or no hope. */
  async #persist(to: PeerName, method: string, bytes: Uint8Array, timeout: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#swarm
    const started = clock.now()
    for (let tries = 1; ; ) {
      try {
        await this.ask(to, method, bytes, { timeout, maxAnswer: 0, signal })
        return
      } catch (error) {
        signal.throwIfAborted()
        const code = error instanceof StarlingError ? error.code : undefined
        if (code === 'ask-timeout' && tries < HAND_TRIES) {
          tries++
        } else if (code !== undefined && LATER.has(code) && clock.now() - started < LATER_LIMIT) {
          await clock.sleep(LATER_PAUSE, signal)
        } else {
          throw error
        }
      }
    }
  }
}

const offerKey = (pass: PassId, backward: boolean, hop: number): string =>
  `${keyOf(pass, hop)} ${backward ? 'backward' : 'forward'}`

/** What a failed question says of the peer that was asked. */
export function lossOf(error: unknown): { reason: LossReason; code: string } {
  if (!(error instanceof StarlingError)) {
    throw error
  }
  const { code } = error
  const reason = code === 'peer-unreachable' ? 'disconnected' : code === 'ask-timeout' ? 'silent' : 'refused'
  return { reason, code: code.slice(0, 64) }
}
