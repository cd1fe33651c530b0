/** Gossip without replicas: a fragment is published to all as it is, and the fragments of one turn are mixed together. */
import { IntervalWeights } from '../mixing/index.ts'
import type { PeerName } from '../ports.ts'
import type { Exchange, ExchangeParts } from './exchange.ts'
import { Publisher } from './publisher.ts'
import { OPEN_TURNS, Receiver } from './receiver.ts'
import { type FragmentArguments, GROUP, mixTask, strideOf } from './tasks.ts'
import { faultyOf } from './turns.ts'

export class GroupExchange implements Exchange {
  readonly #parts: ExchangeParts
  readonly #stride: number
  readonly #receiver: Receiver
  readonly #publisher: Publisher
  readonly #weights = new IntervalWeights()
  /** Groups are mixed one after the other. */
  #mixing: Promise<void> = Promise.resolve()
  /** What broke while a group was mixed. */
  #failure: unknown

  constructor(parts: ExchangeParts) {
    this.#parts = parts
    this.#stride = strideOf(parts.plan.largest)
    this.#receiver = new Receiver({
      ...parts,
      onFragment: (turn) => this.#onFragment(turn),
      onRejected: (peer, reason) => parts.refuse(peer, reason),
    })
    this.#publisher = new Publisher(parts, this.#stride)
  }

  start(): void {
    this.#receiver.start()
  }

  close(): void {
    this.#receiver.stop()
  }

  stop(): void {
    this.#receiver.stop()
    this.#publisher.stop()
  }

  get heard(): ReadonlyMap<PeerName, number> {
    return this.#receiver.heard
  }

  /** Nothing is kept of others that would have to begin anew. */
  async begin(): Promise<void> {}

  async settle(): Promise<void> {
    await this.#mixing
    if (this.#failure !== undefined) {
      throw this.#failure
    }
  }

  /** Publishes the fragment, and mixes what came for the turns before. */
  async turn(turn: number | undefined, step: number, signal: AbortSignal): Promise<void> {
    const { tally } = this.#parts
    if (turn !== undefined) {
      const { codingError, bytes } = await this.#publisher.publish(turn, step, this.#fragment(turn), signal)
      tally.sent(codingError, bytes)
    }
    const own = this.#parts.turn() ?? 0
    for (const open of this.#receiver.turns()) {
      if (open <= own - OPEN_TURNS) {
        this.#mix(open)
      }
    }
    await this.settle()
    tally.tell(own, this.#receiver.received)
  }

  finish(turn: number): void {
    this.#parts.tally.tell(turn, this.#receiver.received, 'now')
  }

  /** Mixes a group at once, between two local steps, when all have come. */
  #onFragment(turn: number): void {
    if (this.#receiver.ready(turn) >= Math.min(GROUP, this.#others())) {
      this.#mix(turn)
    }
  }

  /** Other peers that train, as far as known. */
  #others(): number {
    return this.#parts.swarm.members().filter(({ status }) => status.phase === 'training').length
  }

  /** Closes a group and mixes it, after those before it. */
  #mix(turn: number): void {
    const entries = this.#receiver.take(turn)
    this.#mixing = this.#mixing
      .then(async () => {
        const { swarm, learner, options, tally, refuse, matrices = [] } = this.#parts
        if (entries.length === 0 || this.#parts.turn() === undefined || this.#failure !== undefined) {
          return
        }
        const messages = entries.map(({ peer, slot }) => ({ peer, slot, weight: this.#weights.contribute(peer, turn) }))
        // Of all in the run: a liar must not become trusted because the honest ones finish before it.
        const faulty = faultyOf(1 + Math.min(GROUP, swarm.members().length), options.faulty)
        const { rule, guards } = options
        const args = { ...this.#fragment(turn), messages, rule, faulty, guards, matrices: guards ? matrices : [] }
        const mixed = await learner.compute(mixTask, args)
        tally.mixed(mixed)
        for (const { peer, refused, relative } of mixed.messages) {
          if (refused === 'bad-tensor') {
            swarm.penalize(peer, 'bad-tensor')
          }
          if (refused !== undefined) {
            refuse(peer, refused === 'distance' ? `distance ${relative.toPrecision(2)} of the model` : refused)
          }
        }
      })
      .catch((error: unknown) => {
        this.#failure ??= error
      })
      .finally(() => this.#receiver.release(entries))
  }

  /** Everything about the fragment of a turn that the tasks need. */
  #fragment(turn: number): FragmentArguments {
    return {
      fragment: this.#parts.order.at(turn),
      codec: this.#parts.options.codec,
      seed: turn % 2 ** 32,
      stride: this.#stride,
    }
  }
}
