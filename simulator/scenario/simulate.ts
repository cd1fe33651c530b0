/** Runs a scenario from its first peer to its last round, and says what came of it. */
import { createHash } from 'node:crypto'
import { SharedVectors, type VectorEntry, type VectorSpec } from '../../kernels/index.ts'
import {
  attacks,
  constantsOf,
  type Learner,
  noloco,
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
import { Checks, type Violation } from './checks.ts'
import { type ChurnEvent, type ChurnStream, churnOf } from './churn.ts'
import { latencyModel } from './latency.ts'
import { problemOf } from './problem.ts'
import { MAX_HEARTBEAT_PEERS, peerNames, type Scenario } from './scenario.ts'

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
  /** SHA-256 over all peers' parameters, steps and rounds, and the number of events by kind. */
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
  /** Replaces what a peer is connected by; for tests that plant a fault. */
  transport?: (name: PeerName, transport: Transport) => Transport
}

const PROGRESS_EVENTS = 2_000

/** Connections of a peer, as in the daemon. */
const CONNECTIONS = 12

/** Hops of gossip: log of the peers to the base of a mesh's degree. */
const DEGREE = 6

/** Peers whose vectors share one memory: a memory of its own for each would need more address space than there is. */
const ARENA = 256

/** Virtual time after which a simulation counts as stuck: so many times as long as its steps take the median peer, and an hour. */
const PATIENCE = 20
const PATIENCE_EXTRA = 3_600_000

/** Runs a checked scenario. Throws StarlingError 'aborted', and 'simulation-stuck' when peers stop getting on. */
export async function simulate(scenario: Scenario, options: SimulateOptions = {}): Promise<SimulationResult> {
  return new Simulation(scenario, options).run()
}

class Simulation {
  readonly #scenario: Scenario
  readonly #options: SimulateOptions
  readonly #names: readonly PeerName[]
  readonly #liars: ReadonlySet<PeerName>
  readonly #checks: Checks
  readonly #world: World<Process>
  #directory: Directory | undefined
  /** Processes that live and are not through. */
  readonly #running = new Set<Process>()
  readonly #up = new Set<PeerName>()
  /** Latest round and step of each peer. */
  readonly #rounds = new Map<PeerName, number>()
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
    const { seed, peers, network, liars } = scenario
    this.#names = peerNames(peers)
    this.#liars = new Set(shuffled(this.#names, seededRandom('scenario-liars', seed)).slice(0, liars.count))
    const steps = scenario.rounds * scenario.noloco.innerSteps
    const problem = problemOf(scenario, steps)
    const place = arenas()
    const shared = scenario.membership === 'auto' ? peers > MAX_HEARTBEAT_PEERS : scenario.membership === 'shared'
    this.#world = createWorld<Scenario['noloco'], Process>({
      seed,
      definition: noloco,
      strategy: scenario.noloco,
      size: problem.size,
      steps,
      evaluateEvery: steps,
      keepEvents: false,
      network: { latency: latencyModel(scenario), loss: network.loss, connections: CONNECTIONS },
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
    this.#checks = new Checks({
      now: () => this.#world.network.clock.now(),
      constants: constantsOf(scenario.noloco),
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
    const { rounds, noloco: strategy, speed } = this.#scenario
    const limit = PATIENCE * rounds * strategy.innerSteps * speed.step + PATIENCE_EXTRA
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

  async #start(name: PeerName): Promise<void> {
    const { seed, speed } = this.#scenario
    const milliseconds = logNormal(speed.step, speed.spread, seededRandom('scenario-speed', seed, name))
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
          sends: noloco.sends ?? [],
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
    this.#checks.saw(name, event)
    if (event.kind === 'step' || event.kind === 'joined') {
      this.#stepSum += event.step - (this.#steps.get(name) ?? 0)
      this.#steps.set(name, event.step)
    }
    if (event.kind === 'exchange' || event.kind === 'exchange-skipped' || event.kind === 'joined') {
      process.checkpoint()
      this.#rounds.set(name, event.round)
    } else if (event.kind === 'evaluation' && !this.#liars.has(name)) {
      const first = this.#losses.get(name)?.first ?? event.loss
      this.#losses.set(name, { first, last: event.loss })
    }
  }

  #progress(): SimulationProgress {
    return {
      seconds: this.#world.network.clock.now() / 1000,
      round: this.#stepSum / this.#names.length / this.#scenario.noloco.innerSteps,
      peers: this.#up.size,
      finished: this.#finished,
    }
  }

  #result(): SimulationResult {
    const learners = this.#names.map((name) => ({ name, learner: this.#learners.get(name) as Learner }))
    const hash = createHash('sha256')
    let steps = 0
    for (const { name, learner } of learners) {
      hash.update(JSON.stringify([name, learner.step(), this.#rounds.get(name)])).update(learner.bytes('theta'))
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
      violations: this.#checks.violations,
      violationCount: this.#checks.count,
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

/** Gives each peer a part of a memory that many share. The part is cleared when a new process of the peer asks for it. */
function arenas(): (name: PeerName, spec: VectorSpec) => SharedVectors {
  const places = new Map<PeerName, SharedVectors>()
  let free: SharedVectors[] = []
  return (name, spec) => {
    const known = places.get(name)
    if (known !== undefined) {
      for (const vector of known.names) {
        known.bytes(vector).fill(0)
      }
      return known
    }
    if (free.length === 0) {
      const all: VectorSpec = {}
      for (let i = 0; i < ARENA; i++) {
        for (const [vector, entry] of Object.entries(spec)) {
          all[`${i}/${vector}`] = entry
        }
      }
      const { memory, entries } = SharedVectors.create(all).handle
      free = Array.from({ length: ARENA }, (_, i) => {
        const own: Record<string, VectorEntry> = {}
        for (const vector of Object.keys(spec)) {
          own[vector] = entries[`${i}/${vector}`] as VectorEntry
        }
        return SharedVectors.attach({ memory, entries: own })
      })
    }
    const place = free.pop() as SharedVectors
    places.set(name, place)
    return place
  }
}
