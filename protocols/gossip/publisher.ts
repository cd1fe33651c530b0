/** The sending side: a fragment is encoded, and said in one gossip message, or announced and given to whoever asks for it by its hash. */
import type { StrategyModules } from '../strategy.ts'
import { FRAGMENTS_TOPIC, fragmentMessage } from './messages.ts'
import { encodeTask, type FragmentArguments, OUTBOX_SLOTS } from './tasks.ts'

/** Time for which an announced fragment stands, ms; it ends earlier when its slot is needed again. */
const OFFER_TTL = 60_000

export class Publisher {
  readonly #modules: StrategyModules
  readonly #stride: number
  readonly #bytes: Uint8Array
  /** Root of what each slot of the outbox offers. */
  readonly #offered: (string | undefined)[] = Array.from({ length: OUTBOX_SLOTS }, () => undefined)
  #next = 0

  constructor(modules: StrategyModules, stride: number) {
    this.#modules = modules
    this.#stride = stride
    this.#bytes = modules.learner.bytes('gossip-outbox')
  }

  /** Publishes the fragment as it is now. Returns the error of its code and the bytes that were handed to neighbours. */
  async publish(
    turn: number,
    step: number,
    args: FragmentArguments,
    signal: AbortSignal,
  ): Promise<{ codingError: number; bytes: number }> {
    const { swarm, learner } = this.#modules
    const slot = this.#next
    this.#next = (slot + 1) % OUTBOX_SLOTS
    this.#withdraw(slot)
    const { codingError } = await learner.compute(encodeTask, { ...args, slot })
    const data = await this.#message(turn, step, args, slot, signal)
    const recipients = await swarm.publish(FRAGMENTS_TOPIC, data, signal)
    return { codingError, bytes: recipients * data.byteLength }
  }

  stop(): void {
    for (const slot of this.#offered.keys()) {
      this.#withdraw(slot)
    }
  }

  async #message(
    turn: number,
    step: number,
    { fragment }: FragmentArguments,
    slot: number,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const bytes = this.#slice(slot).subarray(0, fragment.bytes)
    if (fragment.inline) {
      // Copied: the encoder of messages does not take views of shared memory.
      return fragmentMessage.encode({ turn, step, bytes: new Uint8Array(bytes) })
    }
    const reference = await this.#modules.blobs.offer(bytes, { ttl: OFFER_TTL, signal })
    this.#offered[slot] = reference.root
    return fragmentMessage.encode({ turn, step, ...reference })
  }

  #slice(slot: number): Uint8Array {
    return this.#bytes.subarray(slot * this.#stride, (slot + 1) * this.#stride)
  }

  #withdraw(slot: number): void {
    const root = this.#offered[slot]
    if (root !== undefined) {
      this.#modules.blobs.withdraw(root, this.#slice(slot))
      this.#offered[slot] = undefined
    }
  }
}
