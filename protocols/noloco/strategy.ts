/**
 * NoLoCo (arXiv 2506.10911) for peers that come and go: every peer trains on its own, and every `innerSteps` steps it exchanges one
 * tensor with one random partner and takes the outer step. Nobody waits for all, and nothing is ever combined over all peers.
 */

import { StarlingError } from '../errors.ts'
import { Evaluation } from '../evaluation.ts'
import { takeLocalSteps } from '../local-steps.ts'
import { lookAround } from '../membership/look-around.ts'
import type { PeerName, Swarm } from '../ports.ts'
import { giveReplicas, newestRound, readProgress, tookASleep } from '../replica/index.ts'
import type { Strategy, StrategyDefinition, StrategyModules } from '../strategy.ts'
import type { Giving } from '../transfer/index.ts'
import { keptRound, takeAgain } from './begin.ts'
import { Exchange } from './exchange.ts'
import { Ledger } from './ledger.ts'
import { alone, type ExchangePhase, type Meeting } from './meeting.ts'
import { OwnReplica } from './own-replica.ts'
import { partnerOf, viewHash } from './pairing.ts'
import { Reach } from './reach.ts'
import type { NolocoOptions } from './stability.ts'
import { encodeTask, nolocoTasks, nolocoVectors, replicaTasks, type TensorOptions, tensorOptions } from './tasks.ts'

/** A partner is waited for at most this share of the time that our own last local training took, but at least {@link MIN_PATIENCE}. */
const PATIENCE_SHARE = 0.5

/** Least wait for a partner, ms, unless `partnerTimeout` is shorter. */
const MIN_PATIENCE = 2_000

/** Rounds tried one after the other, without training in between, while the partners are ahead. */
const MAX_FORWARD = 3

/** Extra modules for tests. */
export interface NolocoModules extends StrategyModules {
  /** Called at each moment of an exchange. */
  onPhase?: (phase: ExchangePhase) => void | Promise<void>
}

class Noloco implements Strategy {
  readonly name = 'noloco'
  readonly state = ['theta', 'phi', 'delta'] as const
  readonly #options: NolocoOptions
  readonly #modules: NolocoModules
  readonly #tensor: TensorOptions
  readonly #ledger: Ledger
  readonly #exchange: Exchange
  readonly #replica: OwnReplica
  readonly #evaluation: Evaluation
  /** This process goes on from a checkpoint. */
  readonly #continues: boolean
  /** Duration of the latest local phase in which the machine was awake, ms. */
  #localTime = 0

  constructor(options: NolocoOptions, modules: NolocoModules, resumed?: Record<string, unknown>) {
    this.#options = options
    this.#modules = modules
    this.#tensor = tensorOptions(options)
    this.#continues = resumed !== undefined
    const { swarm, learner, blobs, records, report } = modules
    this.#ledger = new Ledger(records, learner, { keep: options.durableRounds })
    this.#exchange = new Exchange({
      swarm,
      learner,
      blobs,
      ledger: this.#ledger,
      tensor: this.#tensor,
      reach: new Reach(),
      partnerOf: (round) => this.#partnerOf(round),
      viewHash: () => viewHash(view(swarm)),
      onRejected: (peer, reason) => report({ kind: 'rejected', peer, what: 'tensor', reason }),
      onWaiting: (peer) => report({ kind: 'waiting', what: 'partner', for: 'partner', peer }),
      onPhase: modules.onPhase,
    })
    this.#replica = new OwnReplica(modules, this.#tensor, readProgress(resumed), (round) =>
      this.#exchange.completed(round),
    )
    this.#evaluation = new Evaluation(modules)
  }

  progress(): Record<string, unknown> {
    return { ...this.#replica.progress }
  }

  /** A replica, then, until the run's steps are done: some local steps, and one round. */
  async run(signal: AbortSignal): Promise<void> {
    const { training, learner } = this.#modules
    const stops: (() => void)[] = []
    const stop = (): void => {
      for (const end of stops.splice(0).reverse()) {
        end()
      }
    }
    try {
      const giving = await this.#begin(signal, stops)
      while (!signal.aborted && learner.step() < training.steps) {
        const elapsed = await takeLocalSteps(
          this.#modules,
          { from: this.#replica.progress.roundStep, interval: this.#options.innerSteps },
          signal,
        )
        if (signal.aborted) {
          break
        }
        if (this.#slept(elapsed)) {
          await giving.pause()
          await this.#replica.fetch(signal)
          giving.resume()
          continue
        }
        this.#localTime = elapsed
        await this.#round(signal)
        await this.#evaluation.look(this.#replica.progress.round, 'if-due', signal)
      }
      if (!signal.aborted) {
        this.#finish()
      }
    } catch (error) {
      stop()
      // A stop at any point is a clean end; what it left undone is on record.
      if (!(signal.aborted && error instanceof StarlingError && ['aborted', 'in-doubt'].includes(error.code))) {
        throw error
      }
    }
    // A finished peer still answers partners in doubt and gives its replica, until the node stops.
    if (signal.aborted) {
      stop()
    } else {
      signal.addEventListener('abort', stop, { once: true })
    }
  }

  /**
   * Gets hold of a replica: from this peer's own records, from its checkpoint, from another peer, or from the run's common start. Gives it to others from
   * then on.
   */
  async #begin(signal: AbortSignal, stops: (() => void)[]): Promise<Giving> {
    const { swarm, learner } = this.#modules
    const { ready, round } = this.#replica.progress
    const kept = await keptRound(this.#ledger, this.#continues ? this.#replica.progress : undefined, learner.step())
    const completed = Math.max(round, kept === undefined ? 0 : kept.round - 1)
    swarm.announce({ phase: 'joining', step: learner.step(), round: completed }, true)
    this.#exchange.start(completed, kept?.exchange)
    stops.push(() => this.#exchange.stop())
    const giving = giveReplicas(this.#modules, replicaTasks, () => this.#replica.progress)
    stops.push(() => giving.stop())

    await lookAround(swarm, signal)
    const newest = newestRound(swarm.members()) ?? 0
    const fresh = !ready && kept === undefined
    const own = Math.max(round, kept?.round ?? 0)
    if (fresh ? newest > 0 : newest - own > this.#options.catchUpRounds) {
      await this.#replica.fetch(signal)
    } else if (kept !== undefined) {
      const parts = { ledger: this.#ledger, exchange: this.#exchange, replica: this.#replica, tensor: this.#tensor }
      await takeAgain(kept, this.#modules, parts, signal)
    } else if (fresh) {
      await this.#replica.start(signal)
    }
    swarm.announce({ phase: 'training', step: learner.step(), round: this.#replica.progress.round }, true)
    await this.#evaluation.look(this.#replica.progress.round, 'now', signal)
    return giving
  }

  /** Whether this machine slept through many rounds of the others, during a local phase of `elapsed` ms. */
  #slept(elapsed: number): boolean {
    if (!tookASleep(elapsed, this.#localTime)) {
      return false
    }
    const behind = (newestRound(this.#modules.swarm.members()) ?? 0) - this.#replica.progress.round
    return behind > this.#options.catchUpRounds
  }

  /** One round: the outer step with the partner, if it comes in time, else alone. */
  async #round(signal: AbortSignal): Promise<void> {
    const { swarm, learner, report } = this.#modules
    const step = learner.step()
    const started = swarm.clock.now()
    this.#ledger.save()
    const { round, partner, meeting } = await this.#meet(step, signal)
    if (meeting.outcome === 'committed') {
      await this.#replica.step(round, step, meeting.share)
      const { outcome: _, ...exchanged } = meeting
      report({ kind: 'exchange', round, ...exchanged, milliseconds: swarm.clock.now() - started })
      return
    }
    const { reason, prepared } = meeting
    if (reason === 'aborted') {
      return
    }
    if (!prepared) {
      await this.#ledger.prepare({ round, step })
    }
    await this.#replica.step(round, step, 0)
    report({ kind: 'exchange-skipped', round, reason, ...(partner === undefined ? {} : { partner }) })
  }

  /** Meets the partner of the next round, or, where it is past that round already, that of a later one. */
  async #meet(
    step: number,
    signal: AbortSignal,
  ): Promise<{ round: number; partner: PeerName | undefined; meeting: Meeting }> {
    let round = this.#nextRound()
    for (let attempt = 1; ; attempt++) {
      this.#modules.swarm.announce({ round, step }, true)
      const partner = this.#partnerOf(round)
      if (partner === undefined) {
        return { round, partner, meeting: alone('no-partner') }
      }
      const meeting = await this.#exchange.meet(round, step, partner, this.#patience(), signal)
      if (meeting.outcome === 'committed' || meeting.reason !== 'partner-ahead' || attempt === MAX_FORWARD) {
        return { round, partner, meeting }
      }
      // The partner is past this round, and so are others: go where they will be next.
      round = Math.max(round, meeting.partnerRound ?? 0) + 1
    }
  }

  /**
   * Rounds are a logical clock: the next one is that in which a partner waits for us, else the newest that anybody is in, so that a slow
   * peer skips rounds instead of being late for ever.
   */
  #nextRound(): number {
    const next = this.#replica.progress.round + 1
    return this.#exchange.invitation() ?? Math.max(next, newestRound(this.#modules.swarm.members()) ?? 0)
  }

  /** The partner in a round, drawn at random from the peers in view, the same on both sides. */
  #partnerOf(round: number): PeerName | undefined {
    const { swarm } = this.#modules
    return partnerOf(swarm.run, round, view(swarm), swarm.self)
  }

  /** How long a partner is waited for, ms. */
  #patience(): number {
    return Math.min(this.#options.partnerTimeout * 1000, Math.max(MIN_PATIENCE, PATIENCE_SHARE * this.#localTime))
  }

  #finish(): void {
    const { swarm, learner, report } = this.#modules
    const step = learner.step()
    const { round } = this.#replica.progress
    swarm.announce({ phase: 'finished', step, round }, true)
    report({ kind: 'finished', step, round })
  }
}

/** Peers that take part in the pairing, sorted: those that train, this one included. Peers that join, leave or are finished are never picked. */
function view(swarm: Swarm): PeerName[] {
  const names: PeerName[] = []
  let told = false
  for (const { peer, status } of swarm.members()) {
    if (!told && swarm.self < peer) {
      names.push(swarm.self)
      told = true
    }
    if (status.phase === 'training') {
      names.push(peer)
    }
  }
  return told ? names : [...names, swarm.self]
}

/** NoLoCo, for the daemon's table of strategies. Its options are those of `nolocoOptionsSchema`. */
export const noloco: StrategyDefinition<NolocoOptions> = {
  name: 'noloco',
  vectors: nolocoVectors,
  tasks: nolocoTasks,
  sends: [{ task: encodeTask.name, message: 'outbox' }],
  create: (options, modules, resumed) => new Noloco(options, modules, resumed),
}
