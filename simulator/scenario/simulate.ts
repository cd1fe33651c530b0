/** Runs a scenario from its first peer to its last round, and says what came of it. */
import { createHash } from 'node:crypto'
import {
  attacks,
  type Learner,
  type PeerName,
  StarlingError,
  type StrategyEvent,
  seededRandom,
  shuffled,
  type Transport,
} from '../../protocols/index.ts'
import { createDirectory, type Directory } from '../directory.ts'
import { logNormal } from '../portable.ts'
import { createWorld, type Process, type World } from '../world.ts'
import { arenas } from './arenas.ts'
import type { Checks, Violation } from './checks/index.ts'
import { type ChurnEvent, type ChurnStream, churnOf } from './churn.ts'
import { latencyModel } from './latency.ts'
import { type Problem, problemOf } from './problem.ts'
import { hasSharedMembership, intervalOf, peerNames, type Scenario } from './scenario.ts'
import { type SimulatedStrategy, type StrategyOptions, simulatedOf } from './strategies.ts'

/** How far a simulation is. */
export interface SimulationProgress {
  /** Virtual time, seconds. */
  seconds: number
  /** Mean over the peers of the rounds that each has trained for: its optimizer steps divided by those of a round. */
  round: number
  peers: number
  finished: number
}

/** What came of a simulation. Everything in it is a function of the scenario. */
export interface SimulationResult {
  /** SHA-256 over all peers' parameters, steps and what their strategies keep of themselves, and the number of events by kind. */
  digest: string
  /** Virtual time, seconds. */
  seconds: number
  /** Peers that live at the end, and those whose strategy threw, by code. */
  alive: number
  failures: Record<string, number>
  /** Events of all peers by kind; those of exchanges that did not happen by their reasons too. */
  events: Record<string, number>
  /** Optimizer steps of all peers. */
  steps: number
  kills: number
  starts: number
  /** Mean validation loss of the honest peers at their first and their last look. */
  loss: { first: number; last: number }
  /** Root mean square distance of the honest peers' parameters from their mean, at the end. */
  disagreement: number
  /** What must never be; the first 100. */
  violations: readonly Violation[]
  violationCount: number
}

export interface SimulateOptions {
  signal?: AbortSignal
  /** Called now and then, at most every {@link PROGRESS_EVENTS} events of the clock. */
  onProgress?: (progress: SimulationProgress) => void
  /** What peers learn, with 'learner: real'. */
  problem?: Problem
  /** Replaces what a peer is connected by; for tests that plant a fault. */
  transport?: (name: PeerName, transport: Transport) => Transport
}

const PROGRESS_EVENTS = 2_000

/** Connections of a peer, as in the daemon. */
const CONNECTIONS = 12

/** Hops of gossip: log of the peers to the base of a mesh's degree. */
const DEGREE = 6

/** Virtual time after which a simulation counts as stuck: so many times as long as its steps take the median peer, and an hour. */
const PATIENCE = 20
const PATIENCE_EXTRA = 3_600_000

/**
 * Runs a checked scenario. Throws StarlingError 'aborted', 'simulation-stuck' when peers stop getting on, and 'bad-scenario' for a real learner that is
 * not brought along.
 */
export async function simulate(scenario: Scenario, options: SimulateOptions = {}): Promise<SimulationResult> {
  return new Simulation(scenario, options).run()
}

class Simulation {
  readonly #scenario: Scenario
  readonly #options: SimulateOptions
  readonly #strategy: SimulatedStrategy<StrategyOptions>
  /** Optimizer steps of a round. */
  readonly #interval: number
  readonly #names: readonly PeerName[]
  readonly #liars: ReadonlySet<PeerName>
  readonly #checks: Checks
  readonly #world: World<Process>
  #directory: Directory | undefined
  /** Processes that live and are not through. */
  readonly #running = new Set<Process>()
  readonly #up = new Set<PeerName>()
  /** Latest step of each peer. */
  readonly #steps = new Map<PeerName, number>()
  /** The latest learner of each peer, which can be read after its process died. */
  readonly #learners = new Map<PeerName, Learner>()
  readonly #events = new Map<string, number>()
  readonly #failures = new Map<string, number>()
  readonly #losses = new Map<PeerName, { first: number; last: number }>()
  #kills = 0
  #starts = 0
  #stepSum = 0
  #finished = 0

  constructor(scenario: Scenario, options: SimulateOptions) {
    this.#scenario = scenario
    this.#options = options
    const { seed, peers, network, liars, strategy } = scenario
    this.#strategy = simulatedOf(strategy)
    this.#interval = intervalOf(scenario)
    this.#names = peerNames(peers)
    this.#liars = new Set(shuffled(this.#names, seededRandom('scenario-liars', seed)).slice(0, liars.count))
    const steps = scenario.rounds * this.#interval
    const problem = options.problem ?? problemOf(scenario, steps)
    const place = arenas(peers)
    const shared = hasSharedMembership(scenario)
    this.#world = createWorld<StrategyOptions, Process>({
      seed,
      definition: this.#strategy.definition,
      strategy,
      size: problem.size,
      ...(problem.moments === undefined ? {} : { moments: problem.moments }),
      steps,
      evaluateEvery: steps,
      keepEvents: false,
      network: {
        latency: latencyModel(scenario),
        loss: network.loss,
        gossip: network.gossip,
        connections: CONNECTIONS,
      },
      place,
      ...(options.transport === undefined ? {} : { transport: options.transport }),
      learn: (name, parts) => {
        const learner = problem.learner(name, parts)
        this.#learners.set(name, learner)
        return learner
      },
      meddle: (name, learner) => this.#meddle(name, learner),
      ...(shared ? { swarm: (transport, parts) => this.#shared().swarm(transport, parts) } : {}),
      onEvent: (process, event) => this.#saw(process, event),
      extend: (process) => ({ process }),
    })
    this.#checks = this.#strategy.checks(strategy, {
      now: () => this.#world.network.clock.now(),
      liars: this.#liars,
    })
    if (shared) {
      this.#shared()
    }
  }

  /** The table of members, made at its first use. */
  #shared(): Directory {
    const { seed, peers, network } = this.#scenario
    const random = seededRandom('scenario-gossip', seed)
    const hops = Math.max(1, Math.ceil(Math.log2(peers) / Math.log2(DEGREE)))
    this.#directory ??= createDirectory({
      clock: this.#world.network.clock,
      seed,
      delay: () => hops * logNormal(network.latency, network.spread, random),
    })
    return this.#directory
  }

  async run(): Promise<SimulationResult> {
    const { clock } = this.#world.network
    const { signal } = this.#options
    for (const name of this.#names) {
      signal?.throwIfAborted()
      await this.#start(name)
    }
    const { rounds, speed } = this.#scenario
    const limit = PATIENCE * speed.slow.factor * rounds * this.#interval * speed.step + PATIENCE_EXTRA
    this.#part()
    const churn = churnOf(this.#scenario, (peer) => this.#up.has(peer))
    let next = nextOf(churn)
    let looks = 0
    while (this.#running.size > 0) {
      if (next !== undefined) {
        clock.schedule(next.at - clock.now(), () => false)
      }
      const due = next?.at ?? Number.POSITIVE_INFINITY
      await clock.runUntil(() => {
        looks++
        if (looks % PROGRESS_EVENTS === 0) {
          this.#options.onProgress?.(this.#progress())
        }
        return this.#running.size === 0 || clock.now() >= due || signal?.aborted === true
      }, limit - clock.now())
      if (signal?.aborted === true) {
        this.#killAll()
        throw new StarlingError('aborted', 'the simulation was given up', {})
      }
      while (next !== undefined && next.at <= clock.now()) {
        await this.#happen(next)
        next = nextOf(churn)
      }
    }
    this.#options.onProgress?.(this.#progress())
    const result = this.#result()
    this.#killAll()
    return result
  }

  /** Lets the partitions come and go. */
  #part(): void {
    const { partitions, seed, peers } = this.#scenario
    const { network } = this.#world
    const { clock } = network
    const random = seededRandom('scenario-partitions', seed)
    for (const { at, for: duration, share } of partitions) {
      const order = shuffled(this.#names, random)
      const cut = Math.round(share * peers)
      clock.schedule(at * 1000 - clock.now(), () => network.partition(order.slice(0, cut), order.slice(cut)))
      clock.schedule((at + duration) * 1000 - clock.now(), () => network.healAll())
    }
  }

  async #start(name: PeerName): Promise<void> {
    const { seed, speed } = this.#scenario
    const random = seededRandom('scenario-speed', seed, name)
    const slow = random.uniform() < speed.slow.share ? speed.slow.factor : 1
    const milliseconds = slow * logNormal(speed.step, speed.spread, random)
    this.#checks.started(name)
    this.#up.add(name)
    this.#starts++
    const process = await this.#world.start(name, { milliseconds })
    this.#running.add(process)
    process.done.then(
      () => {
        if (this.#running.delete(process)) {
          this.#finished++
        }
      },
      (error: unknown) => {
        if (!(error instanceof StarlingError)) {
          throw error
        }
        this.#running.delete(process)
        this.#failures.set(error.code, (this.#failures.get(error.code) ?? 0) + 1)
      },
    )
  }

  async #happen({ peer, what }: ChurnEvent): Promise<void> {
    if ((what === 'start') === this.#up.has(peer)) {
      return
    }
    if (what === 'start') {
      await this.#start(peer)
      return
    }
    const process = this.#world.processes.get(peer) as Process
    // Who is through has nothing to lose any more and goes on serving others.
    if (!this.#running.has(process)) {
      return
    }
    process.kill()
    this.#running.delete(process)
    this.#up.delete(peer)
    this.#directory?.died(peer)
    this.#kills++
  }

  #meddle(name: PeerName, learner: Process['learner']): Process['learner'] {
    const { liars, peers, seed } = this.#scenario
    const watched = this.#checks.watch(name, learner)
    return this.#liars.has(name)
      ? attacks.hostileLearner(watched, {
          attack: liars.attack,
          seed: `${seed} ${name}`,
          symmetries: [],
          sends: this.#strategy.definition.sends ?? [],
          crowd: () => ({ peers, faulty: liars.count }),
        })
      : watched
  }

  #saw(process: Process, event: StrategyEvent): void {
    const { name } = process
    const count = (kind: string): void => void this.#events.set(kind, (this.#events.get(kind) ?? 0) + 1)
    count(event.kind)
    if (event.kind === 'exchange-skipped') {
      count(`${event.kind} (${event.reason})`)
    }
    this.#checks.saw(process, event)
    if (event.kind === 'step' || event.kind === 'joined') {
      this.#stepSum += event.step - (this.#steps.get(name) ?? 0)
      this.#steps.set(name, event.step)
    }
    if (this.#strategy.keeps(event)) {
      process.checkpoint()
    } else if (event.kind === 'evaluation' && !this.#liars.has(name)) {
      const first = this.#losses.get(name)?.first ?? event.loss
      this.#losses.set(name, { first, last: event.loss })
    }
  }

  #progress(): SimulationProgress {
    return {
      seconds: this.#world.network.clock.now() / 1000,
      round: this.#stepSum / this.#names.length / this.#interval,
      peers: this.#up.size,
      finished: this.#finished,
    }
  }

  #result(): SimulationResult {
    const learners = this.#names.map((name) => ({ name, learner: this.#learners.get(name) as Learner }))
    const hash = createHash('sha256')
    let steps = 0
    for (const { name, learner } of learners) {
      const progress = this.#world.processes.get(name)?.strategy.progress()
      hash.update(JSON.stringify([name, learner.step(), progress])).update(learner.bytes('theta'))
      steps += learner.step()
    }
    const events = Object.fromEntries([...this.#events].sort(([a], [b]) => (a < b ? -1 : 1)))
    hash.update(JSON.stringify(events))
    const honest = learners.filter(({ name }) => this.#up.has(name) && !this.#liars.has(name))
    const losses = [...this.#losses.values()]
    const mean = (of: (loss: { first: number; last: number }) => number): number =>
      losses.reduce((sum, loss) => sum + of(loss), 0) / losses.length
    return {
      digest: hash.digest('hex'),
      seconds: this.#world.network.clock.now() / 1000,
      alive: this.#up.size,
      failures: Object.fromEntries(this.#failures),
      events,
      steps,
      kills: this.#kills,
      starts: this.#starts,
      loss: { first: mean(({ first }) => first), last: mean(({ last }) => last) },
      disagreement: disagreementOf(honest.map(({ learner }) => learner.float32('theta'))),
      violations: this.#checks.violations.kept,
      violationCount: this.#checks.violations.count,
    }
  }

  #killAll(): void {
    for (const process of this.#world.processes.values()) {
      process.life.dead = true
    }
  }
}

function nextOf(stream: ChurnStream): ChurnEvent | undefined {
  return stream.next().value ?? undefined
}

/** Root mean square distance from the mean. */
function disagreementOf(models: readonly Float32Array[]): number {
  const size = models[0]?.length ?? 0
  let squares = 0
  for (let k = 0; k < size; k++) {
    let sum = 0
    for (const model of models) {
      sum += model[k] as number
    }
    const mean = sum / models.length
    for (const model of models) {
      squares += ((model[k] as number) - mean) ** 2
    }
  }
  return Math.sqrt(squares / Math.max(1, size * models.length))
}
