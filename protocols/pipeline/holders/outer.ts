/**
 * NoLoCo between the holders of one part (arXiv 2506.10911; protocols/noloco): every `outer.innerSteps` steps each meets one other at random, and both take the outer step, or neither
 * does. Beside training, which goes on from a snapshot meanwhile (outer-tasks.ts). A part with one holder takes no outer step; one that was just taken begins with slow
 * weights as its weights, and no momentum.
 */
import { StarlingError } from '../../errors.ts'
import {
  type ExchangeSwarm,
  NolocoExchange,
  NolocoLedger,
  type NolocoMeeting,
  partnerOf,
  Reach,
  type TensorOptions,
  viewHash,
} from '../../noloco/index.ts'
import type { ComputeTask, Learner, PeerName, RecordStore } from '../../ports.ts'
import {
  hasReplicas,
  OUTER_CODEC,
  outerSnapshotTask,
  outerStartTask,
  outerStepTask,
  type Scope,
  scopedBytes,
  scopedTask,
} from './outer-tasks.ts'
import { type OwnPart, type OwnParts, rangeOf } from './own.ts'
import type { HoldersConfig } from './types.ts'
import type { StageView } from './view.ts'

/** How long a partner is waited for, ms. Training does not wait with it. */
const PATIENCE = 10_000

export interface OuterContext {
  config: HoldersConfig
  view: StageView
  own: OwnParts
}

/** One part's exchanges. */
interface Part {
  own: OwnPart
  scope: Scope
  exchange: NolocoExchange
  /** The latest round that this peer is through with. */
  round: number
  stop: AbortController
  running: Promise<void> | undefined
}

export class Outer {
  readonly #context: OuterContext
  readonly #used: boolean
  readonly #tensor: TensorOptions
  /** At most one for each place, and the ends. */
  readonly #parts = new Map<number, Part>()

  constructor(context: OuterContext) {
    const { options } = context.config
    const { alpha, beta } = options.outer
    this.#context = context
    this.#used = hasReplicas(options)
    this.#tensor = { codec: OUTER_CODEC, constants: { alpha, beta, gamma: beta } }
  }

  /** A part has come to this peer. */
  async taken(own: OwnPart): Promise<void> {
    if (!this.#used) {
      return
    }
    const { config } = this.#context
    const { part, place } = own
    this.#drop(part)
    const scope = { ...rangeOf(config.cut, part, place), place }
    const exchange = this.#exchangeOf(part, scope)
    const round = this.#roundOf(own)
    const stop = new AbortController()
    this.#parts.set(part, { own, scope, exchange, round, stop, running: undefined })
    exchange.start(round)
    try {
      await config.modules.learner.compute(outerStartTask, { begin: scope.begin, end: scope.end })
    } catch (error) {
      if (!(error instanceof StarlingError)) {
        throw error
      }
      // Without slow weights there is nothing to exchange; the part itself is in order.
      this.#drop(part)
    }
  }

  /** A part went through a step: time for the next round, or not. `fail` hears of a fault of ours. */
  stepped(part: number, fail: (error: unknown) => void): void {
    const mine = this.#parts.get(part)
    if (mine === undefined || mine.running !== undefined || this.#roundOf(mine.own) <= mine.round) {
      return
    }
    mine.running = this.#run(part, mine)
      .catch((error: unknown) => {
        // A stop, a partner that left in doubt: the part goes on without this round.
        if (!(error instanceof StarlingError)) {
          fail(error)
        }
      })
      .finally(() => {
        mine.running = undefined
      })
  }

  /** Ends the exchanges of parts that this peer does not hold any more. */
  tidy(): void {
    for (const [part, { own }] of this.#parts) {
      if (this.#context.own.get(part) !== own) {
        this.#drop(part)
      }
    }
  }

  async stop(): Promise<void> {
    const running = [...this.#parts.values()].map((part) => part.running)
    for (const part of [...this.#parts.keys()]) {
      this.#drop(part)
    }
    await Promise.all(running)
  }

  #drop(part: number): void {
    const mine = this.#parts.get(part)
    mine?.stop.abort(new StarlingError('aborted', 'this peer does not hold the part any more', { part }))
    mine?.exchange.stop()
    this.#parts.delete(part)
  }

  /** Rounds are counted by the steps of the run, which are the same at all holders. */
  #roundOf({ course }: OwnPart): number {
    return Math.floor((course?.step ?? 0) / this.#context.config.options.outer.innerSteps)
  }

  async #run(part: number, mine: Part): Promise<void> {
    const { config } = this.#context
    const { learner, swarm, report } = config.modules
    const { own, scope, exchange, stop } = mine
    const round = this.#roundOf(own)
    const step = own.course?.step ?? 0
    const started = swarm.clock.now()
    const holders = this.#holders(part)
    const { begin, end } = scope
    if (holders.length < 2) {
      await learner.compute(outerStartTask, { begin, end })
      this.#through(mine, round)
      return
    }
    await learner.compute(outerSnapshotTask, { begin, end })
    const partner = this.#partnerOf(part, round)
    const meeting: NolocoMeeting =
      partner === undefined
        ? { outcome: 'alone', reason: 'no-partner', prepared: false }
        : await exchange.meet(round, step, partner, PATIENCE, stop.signal)
    const aborted = meeting.outcome === 'alone' && meeting.reason === 'aborted'
    if (aborted || this.#parts.get(part) !== mine) {
      return
    }
    const share = meeting.outcome === 'committed' ? meeting.share : 0
    await learner.compute(outerStepTask, { scope, tensor: this.#tensor, share })
    this.#through(mine, round)
    if (meeting.outcome === 'committed') {
      const { outcome: _, ...exchanged } = meeting
      report({ kind: 'exchange', round, ...exchanged, milliseconds: swarm.clock.now() - started })
    } else {
      const { reason } = meeting
      report({ kind: 'exchange-skipped', round, reason, ...(partner === undefined ? {} : { partner }) })
    }
  }

  #through(mine: Part, round: number): void {
    mine.round = round
    mine.exchange.completed(round)
  }

  #holders(part: number): PeerName[] {
    const { view, config } = this.#context
    const { clock, self } = config.modules.swarm
    return [...new Set([self, ...view.holders(part, clock.now()).map(({ peer }) => peer)])].sort()
  }

  #partnerOf(part: number, round: number): PeerName | undefined {
    const { run, self } = this.#context.config.modules.swarm
    return partnerOf(`${run} part ${part}`, round, this.#holders(part), self)
  }

  #exchangeOf(part: number, scope: Scope): NolocoExchange {
    const { swarm, learner, blobs, report } = this.#context.config.modules
    const scopedLearner: Pick<Learner, 'bytes' | 'compute'> = {
      bytes: (name) => scopedBytes(learner, scope, name),
      compute: <A, R>(task: ComputeTask<A, R>, args: A, signal?: AbortSignal) =>
        learner.compute(scopedTask, { scope, task: task.name, args }, signal) as Promise<R>,
    }
    return new NolocoExchange({
      swarm: methodsOf(swarm, part),
      learner: scopedLearner,
      blobs,
      // What was decided matters to partners in doubt while this process lives; a killed holder's part is another's.
      ledger: new NolocoLedger(recordsInMemory(), scopedLearner, { keep: false }),
      tensor: this.#tensor,
      reach: new Reach(),
      partnerOf: (round) => this.#partnerOf(part, round),
      viewHash: () => viewHash(this.#holders(part)),
      onRejected: (peer, reason) => report({ kind: 'rejected', peer, what: 'tensor', reason }),
      onWaiting: () => undefined,
    })
  }
}

/** The swarm with the methods of one part. */
function methodsOf(swarm: ExchangeSwarm, part: number): ExchangeSwarm {
  const named = (method: string): string => `${method}-${part}`
  return {
    self: swarm.self,
    run: swarm.run,
    clock: swarm.clock,
    members: () => swarm.members(),
    ask: (peer, method, question, options) => swarm.ask(peer, named(method), question, options),
    answer: (method, answerer) => swarm.answer(named(method), answerer),
    penalize: (peer, reason) => swarm.penalize(peer, reason),
  }
}

/** Bounded by what a ledger without kept rounds writes: one record of outcomes. */
function recordsInMemory(): RecordStore {
  const records = new Map<string, Uint8Array>()
  return {
    get: async (key) => records.get(key),
    put: async (key, value) => void records.set(key, value),
    delete: async (key) => void records.delete(key),
    keys: async (prefix, limit) => [...records.keys()].filter((key) => key.startsWith(prefix)).slice(0, limit),
  }
}
