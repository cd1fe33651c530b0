/**
 * Gossip learning (Ormándi, Hegedűs & Jelasity 2013) in fragments: every peer trains on its own; every few steps it publishes one fragment of its model to
 * all, and mixes the fragments of the others around its own as soon as there are enough to tell who is far off (MoNNA, arXiv 2209.10931). Nobody waits for
 * anybody. See docs/gossip.md.
 */
import { StarlingError } from '../errors.ts'
import { Evaluation } from '../evaluation.ts'
import { takeLocalSteps } from '../local-steps.ts'
import { lookAround } from '../membership/look-around.ts'
import { RateLimit } from '../rate-limit.ts'
import {
  fetchReplica,
  giveReplicas,
  NO_REPLICA,
  newestRound,
  type Progress,
  readProgress,
  tookASleep,
} from '../replica/index.ts'
import type { Strategy, StrategyDefinition, StrategyModules } from '../strategy.ts'
import type { Giving } from '../transfer/index.ts'
import type { Exchange } from './exchange.ts'
import { GroupExchange } from './groups.ts'
import { type GossipOptions, memoryOf } from './options.ts'
import { FragmentOrder, fragmentPlan } from './plan.ts'
import { ReplicaExchange, replicaGossipTasks, replicaVectors, sendTask } from './replicas/index.ts'
import { Tally } from './tally.ts'
import { encodeTask, gossipTasks, gossipVectors, replicaTasks } from './tasks.ts'
import { nextTurn, referenceTurn } from './turns.ts'

/** Shortest time between two turns, ms: small models take thousands of steps per second, and no network that many messages. */
const MIN_GAP = 20

/** Refusals that are reported of one peer, each reason apart; the counts of all are in the events. */
const REFUSALS = { rate: 0.1, burst: 1, keys: 256 }

class Gossip implements Strategy {
  readonly name = 'gossip'
  readonly state = ['theta'] as const
  readonly #options: GossipOptions
  readonly #modules: StrategyModules
  readonly #exchange: Exchange
  readonly #evaluation: Evaluation
  readonly #refusals = new RateLimit(REFUSALS)
  #progress: Progress
  /** Duration of the latest local phase in which the machine was awake, ms. */
  #localTime = 0
  #turnedAt = Number.NEGATIVE_INFINITY

  constructor(options: GossipOptions, modules: StrategyModules, resumed?: Record<string, unknown>) {
    const { swarm, learner, report } = modules
    this.#options = options
    this.#modules = modules
    this.#progress = readProgress(resumed) ?? NO_REPLICA
    const plan = fragmentPlan(learner.size, options)
    const parts = {
      ...modules,
      options,
      plan,
      order: new FragmentOrder(swarm.run, plan),
      tally: new Tally(swarm.clock, report),
      turn: () => (this.#progress.ready ? this.#progress.round : undefined),
      refuse: (peer: string, reason: string) => this.#refuse(peer, reason),
    }
    this.#exchange = memoryOf(options) === 'replicas' ? new ReplicaExchange(parts) : new GroupExchange(parts)
    this.#evaluation = new Evaluation(modules)
  }

  progress(): Record<string, unknown> {
    return { ...this.#progress }
  }

  /** A replica, then, until the run's steps are done: some local steps, and one turn. */
  async run(signal: AbortSignal): Promise<void> {
    const { training, learner } = this.#modules
    const stops: (() => void)[] = []
    const stop = async (): Promise<void> => {
      for (const end of stops.splice(0).reverse()) {
        end()
      }
      await this.#exchange.settle().catch(() => undefined)
    }
    try {
      const giving = await this.#begin(signal, stops)
      while (!signal.aborted && learner.step() < training.steps) {
        const elapsed = await takeLocalSteps(
          this.#modules,
          { from: this.#progress.roundStep, interval: this.#options.interval },
          signal,
        )
        if (signal.aborted) {
          break
        }
        if (tookASleep(elapsed, this.#localTime) && this.#isBehind()) {
          await giving.pause()
          await this.#fetch(signal)
          giving.resume()
          continue
        }
        this.#localTime = elapsed
        await this.#turn(signal)
        await this.#evaluation.look(this.#progress.round, 'if-due', signal)
      }
      // From here on the parameters are what others fetch as the result: nothing is mixed into them any more.
      this.#exchange.close()
      await this.#exchange.settle()
      if (!signal.aborted) {
        this.#finish()
      }
    } catch (error) {
      await stop()
      // A stop at any point is a clean end.
      const stopped = error === signal.reason || (error instanceof StarlingError && error.code === 'aborted')
      if (!(signal.aborted && stopped)) {
        throw error
      }
    }
    // A finished peer still gives its replica, until the node stops.
    if (signal.aborted) {
      await stop()
    } else {
      signal.addEventListener('abort', () => void stop(), { once: true })
    }
  }

  /** Gets hold of a replica: from the checkpoint, from another peer, or from the run's common start. Gives it to others from then on. */
  async #begin(signal: AbortSignal, stops: (() => void)[]): Promise<Giving> {
    const { swarm, learner, report } = this.#modules
    swarm.announce({ phase: 'joining', step: learner.step(), round: this.#progress.round }, true)
    const giving = giveReplicas(this.#modules, replicaTasks, () => this.#progress)
    stops.push(() => giving.stop())
    this.#exchange.start()
    stops.push(() => this.#exchange.stop())

    await lookAround(swarm, signal)
    const fresh = !this.#progress.ready
    if (fresh ? (newestRound(swarm.members()) ?? 0) > 0 : this.#isBehind()) {
      await this.#fetch(signal)
    } else {
      await this.#exchange.begin(fresh ? 'start' : 'parameters')
    }
    if (!this.#progress.ready) {
      this.#progress = { ready: true, round: 0, roundStep: learner.step() }
      report({ kind: 'joined', step: learner.step(), round: 0, bytes: 0, milliseconds: 0 })
    }
    swarm.announce({ phase: 'training', step: learner.step(), round: this.#progress.round }, true)
    await this.#evaluation.look(this.#progress.round, 'now', signal)
    return giving
  }

  async #fetch(signal: AbortSignal): Promise<void> {
    const { report } = this.#modules
    // What is being mixed belongs to the replica that is given up.
    this.#progress = { ...this.#progress, ready: false }
    await this.#exchange.settle()
    const fetched = await fetchReplica(this.#modules, replicaTasks, {
      signal,
      onWaiting: (words, peer) =>
        report({ kind: 'waiting', what: 'replica', for: words, ...(peer === undefined ? {} : { peer }) }),
      onRejected: (peer, reason) => report({ kind: 'rejected', peer, what: 'replica', reason }),
    })
    await this.#exchange.begin('parameters')
    this.#progress = { ready: true, round: fetched.round, roundStep: fetched.step }
    report({ kind: 'joined', ...fetched })
  }

  /** Whether the swarm is so far ahead that another replica is worth more than the own one. */
  #isBehind(): boolean {
    const newest = newestRound(this.#modules.swarm.members()) ?? 0
    return newest - this.#progress.round > this.#options.catchUpTurns
  }

  /** Publishes the fragment of the swarm's next turn, unless this peer is ahead of the others, and mixes what came for the turns before. */
  async #turn(signal: AbortSignal): Promise<void> {
    const { swarm, learner } = this.#modules
    const { round } = this.#progress
    const step = learner.step()
    const now = swarm.clock.now()
    const others = referenceTurn(swarm.members(), this.#exchange.heard)
    const turn = now - this.#turnedAt < MIN_GAP ? undefined : nextTurn(round, others)
    this.#progress = { ready: true, round: turn ?? round, roundStep: step }
    if (turn !== undefined) {
      this.#turnedAt = now
      swarm.announce({ round: turn, step })
    }
    await this.#exchange.turn(turn, step, signal)
  }

  #refuse(peer: string, reason: string): void {
    const { swarm, report } = this.#modules
    if (this.#refusals.allow(`${peer} ${reason.split(' ')[0]}`, 1, swarm.clock.now())) {
      report({ kind: 'rejected', peer, what: 'fragment', reason })
    }
  }

  #finish(): void {
    const { swarm, learner, report } = this.#modules
    const step = learner.step()
    const { round } = this.#progress
    this.#exchange.finish(round)
    swarm.announce({ phase: 'finished', step, round }, true)
    report({ kind: 'finished', step, round })
  }
}

/** Gossip, for the daemon's table of strategies. Its options are those of `gossipOptionsSchema`. */
export const gossip: StrategyDefinition<GossipOptions> = {
  name: 'gossip',
  vectors: (size, options) =>
    memoryOf(options) === 'replicas' ? replicaVectors(size, options) : gossipVectors(size, options),
  tasks: [...gossipTasks, ...replicaGossipTasks],
  sends: [encodeTask, sendTask].map(({ name }) => ({ task: name, message: 'gossip-outbox' })),
  create: (options, modules, resumed) => new Gossip(options, modules, resumed),
}
