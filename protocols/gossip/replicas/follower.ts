/** The receiving side of gossip through replicas: differences are added to the replica of their author; what got lost is fetched whole before the replica counts again. */

import type { CodecName } from '../../codecs/index.ts'
import { StarlingError } from '../../errors.ts'
import type { PeerName } from '../../ports.ts'
import { RateLimit } from '../../rate-limit.ts'
import type { StrategyModules } from '../../strategy.ts'
import type { FragmentOrder, FragmentPlan } from '../plan.ts'
import { inTime } from '../pull.ts'
import { AUTHOR_RATE } from '../receiver.ts'
import { strideOf } from '../tasks.ts'
import {
  DIFFERENCE_METHOD,
  type Difference,
  differenceMessage,
  PUBLIC_METHOD,
  publicAnswer,
  publicQuestion,
} from './messages.ts'
import { type Pending, Replica } from './replica.ts'
import { BATCH, followTask, LANDINGS, landTask, replicaVector } from './tasks.ts'

/** Time for which a difference that was overtaken by the next one is waited for, ms. */
const GAP_PATIENCE = 2_000

/** Time for the name of a public replica, ms: its author may have to finish a training step, copy and hash. */
const NAME_TIMEOUT = 20_000

/** What is pulled from one author in the long run, bytes per ms (20 Mbit/s): one that has itself fetched again and again takes no more of the line than that. */
const PULL_RATE = 2_500

/** A peer whose replica could not be had is not pulled from for so long, ms. */
const PULL_BACKOFF = 10_000

/** Why a replica cannot be had, where that passes by itself and is nobody's fault: its author has other neighbours, or no public replica yet. */
const PASSING: ReadonlySet<string> = new Set([
  'aborted',
  'not-ready',
  'not-a-neighbour',
  'rate-limited',
  'peer-unreachable',
])

/** What the follower needs of the strategy. */
export interface FollowerModules extends Pick<StrategyModules, 'swarm' | 'learner' | 'blobs' | 'training'> {
  plan: FragmentPlan
  order: FragmentOrder
  codec: CodecName
  slots: number
  /** The turn that this peer is in; undefined while it has no parameters of the run. */
  turn(): number | undefined
  /** Looked up anew: those that this peer follows now. */
  neighbours(): readonly PeerName[]
  onRejected(peer: PeerName, reason: string): void
}

export class Follower {
  readonly #modules: FollowerModules
  readonly #stride: number
  readonly #rates = new RateLimit(AUTHOR_RATE)
  /** By author, at most as many as there are slots. */
  readonly #replicas = new Map<PeerName, Replica>()
  readonly #free: number[]
  /** Landing places that no pull has. */
  readonly #landings: number[] = Array.from({ length: LANDINGS }, (_, i) => i)
  /** Latest turn of each author. */
  readonly #heard = new Map<PeerName, number>()
  readonly #stopped = new AbortController()
  #stop: (() => void) | undefined
  #draining: Promise<void> | undefined
  /** What broke while differences were added. */
  failure: unknown
  /** Bytes of differences and replicas that came. */
  received = 0

  constructor(modules: FollowerModules) {
    this.#modules = modules
    this.#stride = strideOf(modules.plan.largest)
    this.#free = Array.from({ length: modules.slots }, (_, i) => i)
  }

  start(): void {
    this.#stop = this.#modules.swarm.answer(DIFFERENCE_METHOD, (from, question) => this.#take(from, question))
  }

  /** Gives up pulls under way. May be called twice. */
  stop(): void {
    this.#stop?.()
    this.#stop = undefined
    this.#stopped.abort(new StarlingError('aborted', 'the follower was stopped', {}))
    for (const replica of this.#replicas.values()) {
      replica.ended.abort()
    }
  }

  get heard(): ReadonlyMap<PeerName, number> {
    return this.#heard
  }

  /** Drops the replicas of those that are no neighbours any more, and has a place for each that is. */
  follow(neighbours: readonly PeerName[]): void {
    const { plan } = this.#modules
    for (const replica of [...this.#replicas.values()]) {
      if (!neighbours.includes(replica.peer)) {
        this.#replicas.delete(replica.peer)
        this.#heard.delete(replica.peer)
        replica.ended.abort()
        this.#free.push(replica.slot)
      }
    }
    for (const peer of neighbours) {
      if (!this.#replicas.has(peer)) {
        const slot = this.#free.pop()
        if (slot !== undefined) {
          this.#replicas.set(peer, new Replica(peer, slot, plan.fragments.length))
        }
      }
    }
  }

  /** Replicas of which the fragment is up to date. Adds what has come before, and begins to fetch what is missing. */
  async ready(fragment: number): Promise<{ peer: PeerName; slot: number }[]> {
    const now = this.#modules.swarm.clock.now()
    for (const replica of this.#replicas.values()) {
      replica.expire(now, GAP_PATIENCE)
    }
    await this.#drain()
    if (this.failure !== undefined) {
      throw this.failure
    }
    return [...this.#replicas.values()]
      .filter((replica) => replica.isReady(fragment))
      .map(({ peer, slot }) => ({ peer, slot }))
  }

  #take(from: PeerName, question: Uint8Array): Uint8Array {
    const { swarm, order, turn, neighbours } = this.#modules
    if (turn() === undefined || this.#stopped.signal.aborted) {
      throw new StarlingError('not-ready', 'this peer follows nobody yet', {})
    }
    this.follow(neighbours())
    const replica = this.#replicas.get(from)
    if (replica === undefined) {
      throw new StarlingError('not-followed', 'this peer does not follow you', {})
    }
    if (!this.#rates.allow(from, 1, swarm.clock.now())) {
      throw new StarlingError('rate-limited', 'too many differences', {})
    }
    const difference = this.#checked(from, question)
    this.#heard.set(from, difference.turn)
    this.received += difference.bytes.byteLength
    replica.take(difference, order.at(difference.turn))
    void this.#drain()
    return new Uint8Array(0)
  }

  /** Throws StarlingError, and holds it against its author, where it cannot be a difference of this run. */
  #checked(from: PeerName, question: Uint8Array): Difference {
    const { swarm, order, training } = this.#modules
    const refuse = (reason: string): never => {
      swarm.penalize(from, reason)
      this.#modules.onRejected(from, reason)
      throw new StarlingError('bad-message', reason, {})
    }
    let difference: Difference
    try {
      difference = differenceMessage.decode(question)
    } catch (error) {
      // Canonical, but of another shape: perhaps of a later version.
      if (error instanceof StarlingError && error.data.misfit !== true) {
        refuse('bad-fragment')
      }
      throw error
    }
    if (difference.bytes.byteLength !== order.at(difference.turn).bytes) {
      refuse('fragment-size')
    }
    if (difference.step > training.steps) {
      refuse('beyond-steps')
    }
    return difference
  }

  /** Adds to the replicas what can be added; one at a time. */
  #drain(): Promise<void> {
    this.#draining ??= this.#addAll()
      .catch((error: unknown) => {
        this.failure ??= error
      })
      .finally(() => {
        this.#draining = undefined
        this.#pull()
      })
    return this.#draining
  }

  async #addAll(): Promise<void> {
    const { learner } = this.#modules
    for (const replica of this.#replicas.values()) {
      if (replica.fresh) {
        await learner.initial(replicaVector(replica.slot))
        replica.fresh = false
      }
    }
    for (;;) {
      const batch: { replica: Replica; generation: number | undefined; pending: Pending }[] = []
      for (const replica of this.#replicas.values()) {
        const { generation } = replica
        batch.push(...replica.next(BATCH - batch.length).map((pending) => ({ replica, generation, pending })))
      }
      if (batch.length === 0 || this.#stopped.signal.aborted) {
        return
      }
      await this.#add(batch)
    }
  }

  async #add(batch: readonly { replica: Replica; generation: number | undefined; pending: Pending }[]): Promise<void> {
    const { swarm, learner, codec, onRejected } = this.#modules
    const inbox = learner.bytes('gossip-inbox')
    const steps = batch.map(({ replica, pending: { fragment, energy, bytes } }, i) => {
      inbox.set(bytes, i * this.#stride)
      return { slot: replica.slot, fragment, energy, inbox: i }
    })
    const results = await learner.compute(followTask, { codec, stride: this.#stride, steps })
    for (const [i, { replica, generation, pending }] of batch.entries()) {
      const result = results[i]!
      if (result === 'followed') {
        replica.followed(generation, pending)
        continue
      }
      if (generation === replica.generation) {
        replica.spoil(pending.fragment.index)
      }
      if (result === 'bad-tensor') {
        swarm.penalize(replica.peer, 'bad-tensor')
      }
      onRejected(replica.peer, result === 'differs' ? 'its replica differs from its own word' : result)
    }
  }

  /** Begins as many pulls as there is room for, one of each author. */
  #pull(): void {
    const { swarm, plan } = this.#modules
    for (const replica of this.#replicas.values()) {
      const index = replica.stale()
      const wanted = !replica.pulling && index !== undefined && replica.pullAt <= swarm.clock.now()
      if (wanted && !this.#stopped.signal.aborted && this.failure === undefined) {
        const landing = this.#landings.pop()
        if (landing === undefined) {
          return
        }
        replica.pulling = true
        void this.#fetch(replica, plan.fragments[index]!.index, landing)
          .catch((error: unknown) => {
            this.failure ??= error
          })
          .finally(() => {
            replica.pulling = false
            this.#landings.push(landing)
            void this.#drain()
          })
      }
    }
  }

  async #fetch(replica: Replica, index: number, landing: number): Promise<void> {
    const { swarm, learner, blobs, plan, onRejected } = this.#modules
    const { peer } = replica
    const fragment = plan.fragments[index]!
    const longest = learner.float32('gossip-landing').length / LANDINGS
    const size = 4 * (fragment.end - fragment.start)
    try {
      await inTime(swarm.clock, size, replica.ended.signal, async (signal) => {
        const question = publicQuestion.encode({ fragment: index })
        const answer = await swarm.ask(peer, PUBLIC_METHOD, question, { signal, timeout: NAME_TIMEOUT, maxAnswer: 256 })
        const { generation, sequence, ...reference } = publicAnswer.decode(answer)
        if (reference.size !== size) {
          throw new StarlingError('bad-tensor', `its replica has ${reference.size} bytes instead of ${size}`, { peer })
        }
        const into = learner.bytes('gossip-landing').subarray(4 * landing * longest, 4 * landing * longest + size)
        await blobs.pull([peer], reference, into, { signal })
        // Whoever has the slot by now must not be written over.
        if (signal.aborted || !(await this.#lands(replica, fragment.index, landing))) {
          return
        }
        this.received += size
        replica.landed(index, generation, sequence)
      })
      replica.pullAt = swarm.clock.now() + size / PULL_RATE
    } catch (error) {
      if (!(error instanceof StarlingError)) {
        throw error
      }
      replica.pullAt = swarm.clock.now() + PULL_BACKOFF
      if (error.code === 'bad-tensor' || error.code === 'bad-message') {
        swarm.penalize(peer, error.code)
      }
      if (!replica.ended.signal.aborted && !PASSING.has(error.code)) {
        onRejected(peer, `its replica could not be had: ${error.code}`)
      }
    }
  }

  async #lands(replica: Replica, index: number, landing: number): Promise<boolean> {
    const { learner, plan } = this.#modules
    const finite = await learner.compute(landTask, { slot: replica.slot, fragment: plan.fragments[index]!, landing })
    if (!finite) {
      throw new StarlingError('bad-tensor', 'its replica holds values that are not finite', { peer: replica.peer })
    }
    return !replica.ended.signal.aborted
  }
}
