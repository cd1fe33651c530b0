/**
 * CHOCO-SGD (Koloskova, Stich & Jaggi 2019, arXiv 1902.00340, algorithm 2) among peers that come and go: models gossiped through codes that keep little of them. What travels is
 * the difference of a peer's fragment to its public replica, of which its neighbours keep a copy:
 *
 *     q = C(x - x̂);   x̂ <- x̂ + q here and at all followers;   x <- x + gamma · sum over j of c_j (x̂_j - x̂)
 *
 * Deviations: c comes from the guards and the robust rule, 1 / (neighbours + 1) each where they leave nobody out, instead of from a fixed doubly stochastic matrix; x̂ begins at the
 * run's common start, or at a joiner's parameters, instead of 0; one fragment at a time, each peer at its own pace.
 */
import type { Exchange, ExchangeParts } from '../exchange.ts'
import { replicaConstants } from '../options.ts'
import { faultyOf } from '../turns.ts'
import { Author } from './author.ts'
import { Follower } from './follower.ts'
import { neighboursOf } from './neighbours.ts'
import { stepTask } from './tasks.ts'

export { replicaGossipTasks, replicaVectors, sendTask } from './tasks.ts'

export class ReplicaExchange implements Exchange {
  readonly #parts: ExchangeParts
  readonly #author: Author
  readonly #follower: Follower
  readonly #gamma: number
  readonly #most: number
  #stopWatching: (() => void) | undefined
  /** The members that the neighbours were found for. */
  #seen = ''
  #neighbours: readonly string[] = []

  constructor(parts: ExchangeParts) {
    const { gamma, neighbours } = replicaConstants(parts.options)
    const { codec } = parts.options
    this.#parts = parts
    this.#gamma = gamma
    this.#most = neighbours
    const around = (): readonly string[] => this.#around()
    this.#author = new Author({ ...parts, codec, followers: around })
    this.#follower = new Follower({ ...parts, codec, slots: neighbours, neighbours: around, onRejected: parts.refuse })
  }

  start(): void {
    this.#author.start()
    this.#follower.start()
    this.#stopWatching = this.#parts.swarm.onMembers(() => this.#follower.follow(this.#around()))
  }

  close(): void {
    this.#stopWatching?.()
    this.#follower.stop()
  }

  stop(): void {
    this.close()
    this.#author.stop()
  }

  get heard(): ReadonlyMap<string, number> {
    return this.#follower.heard
  }

  begin(from: 'start' | 'parameters'): Promise<void> {
    return this.#author.begin(from)
  }

  /** Nothing is mixed between two turns. */
  async settle(): Promise<void> {}

  /** Sends the difference of the turn's fragment, and steps towards the replicas of those that train. */
  async turn(turn: number | undefined, step: number): Promise<void> {
    const { swarm, learner, order, options, tally, refuse } = this.#parts
    const neighbours = this.#around()
    this.#follower.follow(neighbours)
    if (turn === undefined) {
      return
    }
    const { codingError, bytes } = await this.#author.send(turn, step)
    tally.sent(codingError, bytes)
    const fragment = order.at(turn)
    const training = new Set(swarm.members().flatMap(({ peer, status }) => (status.phase === 'training' ? [peer] : [])))
    const replicas = (await this.#follower.ready(fragment.index)).filter(({ peer }) => training.has(peer))
    if (replicas.length > 0) {
      // Of all neighbours: a liar must not become trusted because the honest ones finish before it, or their replicas are being fetched.
      const faulty = faultyOf(1 + neighbours.length, options.faulty)
      const { rule, guards } = options
      const args = { fragment, replicas, rule, faulty, guards, gamma: this.#gamma }
      const mixed = await learner.compute(stepTask, args)
      tally.mixed(mixed)
      for (const { peer, refused, relative } of mixed.messages) {
        if (refused !== undefined) {
          refuse(peer, refused === 'distance' ? `distance ${relative.toPrecision(2)} of the model` : refused)
        }
      }
    }
    tally.tell(turn, this.#follower.received)
  }

  finish(turn: number): void {
    this.#parts.tally.tell(turn, this.#follower.received, 'now')
  }

  /** Neighbours among those that train or have finished, found anew where those have changed. */
  #around(): readonly string[] {
    const { swarm } = this.#parts
    const members = swarm.members().flatMap(({ peer, status }) => (PRESENT.includes(status.phase) ? [peer] : []))
    const seen = members.join(' ')
    if (seen !== this.#seen) {
      this.#seen = seen
      this.#neighbours = neighboursOf(swarm.run, swarm.self, members, this.#most)
    }
    return this.#neighbours
  }
}

/** Phases in which a peer stays a neighbour: who has finished says nothing more, but to find others in its place would have their replicas fetched for the last few turns. */
const PRESENT: readonly string[] = ['training', 'finished']
