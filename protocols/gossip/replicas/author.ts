/** The sending side of gossip through replicas: the public replica of this peer, the differences by which its followers keep up, and itself for those who lost one. */
import { StarlingError } from '../../errors.ts'
import { createTurns } from '../../one-after-another.ts'
import type { PeerName } from '../../ports.ts'
import { RateLimit } from '../../rate-limit.ts'
import type { StrategyModules } from '../../strategy.ts'
import type { BlobReference } from '../../transfer/index.ts'
import type { Fragment, FragmentOrder, FragmentPlan } from '../plan.ts'
import { DIFFERENCE_METHOD, differenceMessage, PUBLIC_METHOD, publicAnswer, publicQuestion } from './messages.ts'
import { beginTask, copyTask, type SendArguments, sendTask } from './tasks.ts'

/** Record of the latest generation, a whole number as text. */
const GENERATION = 'gossip-generation'

/** Time for a follower to take a difference, ms. */
const SEND_TIMEOUT = 5_000

/** Differences on their way to one follower; more are not sent, and it fetches what it missed. */
const MAX_OUTSTANDING = 16

/** Time for which a copy of a fragment is on offer, ms, and what a byte adds (2 Mbit/s). Ends when its asker asks again. */
const OFFER_TTL = 20_000
const SLOWEST = 250

/** Copies per second and at once that one asker is given. */
const ASKER_RATE = { rate: 20, burst: 40, keys: 64 }

/** What the author needs of the strategy. */
export interface AuthorModules extends Pick<StrategyModules, 'swarm' | 'learner' | 'blobs' | 'records'> {
  plan: FragmentPlan
  order: FragmentOrder
  codec: SendArguments['codec']
  /** Those who follow this peer now, at most as many as there are places among the copies. */
  followers(): readonly PeerName[]
}

export class Author {
  readonly #modules: AuthorModules
  /** Sending and copying, one after the other: a copy is of the sequence number that is said of it. */
  readonly #turns = createTurns()
  readonly #rates = new RateLimit(ASKER_RATE)
  /** Differences sent of each fragment in this generation. */
  readonly #sequences: number[]
  /** Who asked last for the copy in each place, and what is on offer there; one for each follower. */
  readonly #copies = new Map<PeerName, { place: number; root?: string; bytes?: Uint8Array }>()
  /** What gives up the differences on their way, by follower; at most {@link MAX_OUTSTANDING} each. */
  readonly #outstanding = new Map<PeerName, Set<AbortController>>()
  #stopped = false
  /** 0 while there is no public replica. */
  #generation = 0
  #stop: (() => void) | undefined

  constructor(modules: AuthorModules) {
    this.#modules = modules
    this.#sequences = modules.plan.fragments.map(() => 0)
  }

  start(): void {
    this.#stop = this.#modules.swarm.answer(PUBLIC_METHOD, (from, question) => this.#give(from, question))
  }

  /** May be called twice. */
  stop(): void {
    this.#stop?.()
    this.#stop = undefined
    this.#stopped = true
    for (const each of [...this.#outstanding.values()].flatMap((all) => [...all])) {
      each.abort()
    }
    for (const peer of [...this.#copies.keys()]) {
      this.#withdraw(peer)
    }
  }

  /**
   * Begins a public replica. The first one of a peer that was there from the run's beginning is the common start, which all followers have already; any other one is the
   * parameters as they are, under a number that was never used before, and has to be fetched by everybody.
   */
  async begin(from: 'start' | 'parameters'): Promise<void> {
    const { learner, records } = this.#modules
    const kept = await records.get(GENERATION)
    const last = kept === undefined ? 0 : Number(new TextDecoder().decode(kept))
    const first = from === 'start' && last === 0
    // A number that cannot be read is as good as none: the sums of squares tell replicas apart that share one by chance.
    const next = first ? 1 : Math.max(2, (Number.isSafeInteger(last) ? last : 0) + 1)
    await records.put(GENERATION, new TextEncoder().encode(String(next)))
    await this.#turns(async () => {
      if (first) {
        await learner.initial('gossip-public')
      } else {
        await learner.compute(beginTask, null)
      }
      this.#sequences.fill(0)
      this.#generation = next
    })
  }

  /** Sends the next difference of that turn's fragment to all followers, without waiting for them. */
  async send(turn: number, step: number): Promise<{ codingError: number; bytes: number }> {
    const { learner, order, codec, followers } = this.#modules
    const fragment = order.at(turn)
    return this.#turns(async () => {
      const { energy, codingError } = await learner.compute(sendTask, { fragment, codec, seed: turn % 2 ** 32 })
      const sequence = (this.#sequences[fragment.index] ?? 0) + 1
      this.#sequences[fragment.index] = sequence
      // Copied: the encoder of messages does not take views of shared memory.
      const bytes = new Uint8Array(learner.bytes('gossip-outbox').subarray(0, fragment.bytes))
      const generation = this.#generation
      const data = differenceMessage.encode({ turn, step, generation, sequence, energy, bytes })
      const reached = followers().filter((peer) => this.#hand(peer, data))
      return { codingError, bytes: reached.length * data.byteLength }
    })
  }

  /** Hands a message to a follower, unless too many are under way. One that does not arrive is missed there, and what it was about is fetched. */
  #hand(peer: PeerName, data: Uint8Array): boolean {
    const { swarm } = this.#modules
    const outstanding = this.#outstanding.get(peer) ?? new Set()
    if (outstanding.size >= MAX_OUTSTANDING || this.#stopped) {
      return false
    }
    const given = new AbortController()
    this.#outstanding.set(peer, outstanding.add(given))
    void swarm
      .ask(peer, DIFFERENCE_METHOD, data, { timeout: SEND_TIMEOUT, maxAnswer: 64, signal: given.signal })
      .catch(() => undefined)
      .finally(() => {
        outstanding.delete(given)
        if (outstanding.size === 0) {
          this.#outstanding.delete(peer)
        }
      })
    return true
  }

  async #give(from: PeerName, question: Uint8Array): Promise<Uint8Array> {
    const { swarm, plan, followers } = this.#modules
    const fragment = plan.fragments[publicQuestion.decode(question).fragment]
    if (fragment === undefined) {
      throw new StarlingError('no-such-fragment', 'the model has fewer fragments', {})
    }
    if (!followers().includes(from)) {
      throw new StarlingError('not-a-neighbour', 'this peer gives its public replica to its neighbours only', {})
    }
    if (!this.#rates.allow(from, 1, swarm.clock.now())) {
      throw new StarlingError('rate-limited', 'too many questions for the public replica', {})
    }
    return this.#turns(() => this.#offer(from, fragment))
  }

  async #offer(peer: PeerName, fragment: Fragment): Promise<Uint8Array> {
    const { learner, blobs, plan, followers } = this.#modules
    if (this.#generation === 0 || this.#stopped) {
      throw new StarlingError('not-ready', 'this peer has no public replica yet', {})
    }
    // Places of those who follow no more are free.
    for (const other of [...this.#copies.keys()]) {
      if (!followers().includes(other)) {
        this.#withdraw(other)
        this.#copies.delete(other)
      }
    }
    this.#withdraw(peer)
    const longest = plan.fragments[0]!.end
    const room = learner.float32('gossip-copies').length / longest
    const taken = new Set([...this.#copies.values()].map(({ place }) => place))
    const place = this.#copies.get(peer)?.place ?? Array.from({ length: room }, (_, i) => i).find((i) => !taken.has(i))
    if (place === undefined) {
      throw new StarlingError('not-a-neighbour', 'this peer has as many neighbours as it can', {})
    }
    this.#copies.set(peer, { place })
    await learner.compute(copyTask, { fragment, at: place * longest })
    const from = 4 * place * longest
    const bytes = learner.bytes('gossip-copies').subarray(from, from + 4 * (fragment.end - fragment.start))
    const reference: BlobReference = await blobs.offer(bytes, { ttl: OFFER_TTL + bytes.byteLength / SLOWEST })
    this.#copies.set(peer, { place, root: reference.root, bytes })
    const sequence = this.#sequences[fragment.index] ?? 0
    return publicAnswer.encode({ generation: this.#generation, sequence, ...reference })
  }

  #withdraw(peer: PeerName): void {
    const copy = this.#copies.get(peer)
    if (copy?.root !== undefined && copy.bytes !== undefined) {
      this.#modules.blobs.withdraw(copy.root, copy.bytes)
      this.#copies.set(peer, { place: copy.place })
    }
  }
}
