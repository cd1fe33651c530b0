/** Processes of peers that run a strategy over the memory network, which can be killed at any moment and started again on the same disk. */
import { type Kernels, SharedVectors, twins, type VectorSpec } from '../kernels/index.ts'
import {
  type AskOptions,
  type Clock,
  createBlobs,
  createSwarm,
  type Learner,
  manifestBytes,
  type PeerName,
  type RecordStore,
  type RunningSwarm,
  runId,
  type StageCut,
  type StageLearner,
  StarlingError,
  type Strategy,
  type StrategyDefinition,
  type StrategyEvent,
  type StrategyModules,
  type Transport,
} from '../protocols/index.ts'
import { createQuadraticLearner, type QuadraticOptions } from './learner.ts'
import { type Life, mortal } from './mortal.ts'
import { createMemoryNetwork } from './network.ts'
import type { MemoryNetwork, MemoryNetworkOptions } from './types.ts'

/** Manifest of the run that every world trains, as far as a strategy sees one, and its name. */
const MANIFEST = manifestBytes({ name: 'simulated' })
export const RUN = runId(MANIFEST)

/** What becomes of one question. */
export type Fate = 'delivered' | 'question-lost' | 'answer-lost' | 'asked-twice'

export interface WorldOptions<Options, P extends Process> {
  seed: number
  definition: StrategyDefinition<Options>
  /** Checked options of the strategy. */
  strategy: Options
  /** Elements of theta. Default 512. */
  size?: number
  steps?: number
  evaluateEvery?: number
  /** Of the quadratic learner, beside what the world gives it. */
  learner?: Partial<Pick<QuadraticOptions, 'noise' | 'learningRate'>>
  /** What the tasks of a peer compute with. Default the plain TypeScript twins. */
  kernels?: (name: PeerName, vectors: SharedVectors) => Kernels
  network?: Omit<MemoryNetworkOptions, 'seed'>
  /** Peers hold stages instead of having a quadratic learner: how the model is cut, their vectors, and what makes a peer from them. */
  stages?: {
    cut: StageCut
    vectors: VectorSpec
    make(
      name: PeerName,
      parts: { clock: Clock; vectors: SharedVectors; milliseconds: number },
    ): {
      learner: Learner
      stages: StageLearner
    }
  }
  /** Vectors of the learner beside theta and the gradient, which belong into a checkpoint: the optimizer's. */
  moments?: VectorSpec
  /** Makes the learner of a peer. Default a quadratic one. `process` is the number of this process of the peer, from 1. */
  learn?: (
    name: PeerName,
    parts: { clock: Clock; vectors: SharedVectors; milliseconds: number; process: number; kernels: Kernels },
  ) => Learner
  /** Where the vectors of a peer lie; those of its earlier process are not needed any more. Default memory of its own for each process. */
  place?: (name: PeerName, spec: VectorSpec) => SharedVectors
  /** Replaces what a process is connected by. */
  transport?: (name: PeerName, transport: Transport) => Transport
  /** Makes the swarm of a process. Default that of the heartbeats. */
  swarm?: (transport: Transport, options: { run: string; incarnation: number }) => RunningSwarm
  /** Processes keep their events in {@link Process.events}. Default true. */
  keepEvents?: boolean
  /** Replaces the learner of a peer, e.g. by one that lies or breaks. */
  meddle?: (name: PeerName, learner: Learner) => Learner
  /** Decides over each question to a peer. */
  fate?: (from: PeerName, to: PeerName, method: string) => Fate
  /** Called before a record is written; it may kill the process, and then the record stays as it was. */
  onPut?: (process: P, key: string) => void
  onEvent?: (process: P, event: StrategyEvent) => void
  /** Makes the process from what is common to all strategies, and what its strategy gets beside the usual modules. */
  extend: (process: Process) => { process: P; modules?: Record<string, unknown> }
}

/** What survives a process. */
export interface Disk {
  records: Map<string, Uint8Array>
  checkpoint?: { step: number; progress: Record<string, unknown>; vectors: Map<string, Uint8Array> }
  starts: number
}

/** A running peer. */
export interface Process {
  readonly name: PeerName
  readonly learner: Learner
  readonly swarm: RunningSwarm
  readonly strategy: Strategy
  readonly events: StrategyEvent[]
  readonly life: Life
  /** Resolves when the strategy is through or stopped; never when killed. */
  readonly done: Promise<void>
  finished: boolean
  kill(): void
  stop(): Promise<void>
  checkpoint(): void
}

export interface World<P extends Process> {
  readonly network: MemoryNetwork
  /** Processes by name, the latest of each peer. */
  readonly processes: Map<PeerName, P>
  start(name: PeerName, options?: { milliseconds?: number }): Promise<P>
  disk(name: PeerName): Disk
}

/** The common start of every run here: not where it ends, and not the same in every element. */
export function commonStart(size: number): Float32Array {
  return Float32Array.from({ length: size }, (_, i) => 4 + Math.sin(i))
}

export function createWorld<Options, P extends Process>(options: WorldOptions<Options, P>): World<P> {
  const { definition, strategy } = options
  const network = createMemoryNetwork({ latency: [2, 20], ...options.network, seed: options.seed })
  const { clock } = network
  const size = options.stages?.vectors.theta?.length ?? options.size ?? 512
  const disks = new Map<PeerName, Disk>()
  const processes = new Map<PeerName, P>()

  const disk = (name: PeerName): Disk => {
    const found: Disk = disks.get(name) ?? { records: new Map(), starts: 0 }
    disks.set(name, found)
    return found
  }

  const start = async (name: PeerName, { milliseconds = 250 } = {}): Promise<P> => {
    const store = disk(name)
    store.starts++
    const life: Life = { dead: false }
    const peer = network.peers.includes(name) ? network.peer(name) : network.join(name)
    if (!peer.alive) {
      peer.revive()
    }
    const mortalClock = mortal(clock, life)
    const fate = options.fate ?? (() => 'delivered')
    const lossy: Transport = {
      ...bound(peer),
      clock: mortalClock,
      async ask(to, method, question, asked: AskOptions = {}) {
        const timeout = asked.timeout ?? 10_000
        const lost = async (): Promise<never> => {
          await clock.sleep(timeout, asked.signal)
          throw new StarlingError('ask-timeout', 'the question or its answer got lost', { to, method })
        }
        const decided = fate(name, to, method)
        if (decided === 'question-lost') {
          return lost()
        }
        if (decided === 'asked-twice') {
          peer.ask(to, method, question, asked).catch(() => undefined)
        }
        const answer = await peer.ask(to, method, question, asked)
        return decided === 'answer-lost' ? lost() : answer
      },
    }
    const connected = { ...bound(mortal(lossy, life)), self: name, clock: mortalClock }
    const transport = options.transport?.(name, connected) ?? connected
    const swarm = (options.swarm ?? createSwarm)(transport, { run: RUN, incarnation: store.starts })
    const blobs = createBlobs(transport)
    const vectors = (options.place ?? ((_, spec) => SharedVectors.create(spec)))(name, {
      theta: { type: 'float32', length: size },
      gradient: { type: 'float32', length: size },
      ...options.moments,
      ...options.stages?.vectors,
      ...definition.vectors(size, strategy, options.stages?.cut),
    })
    const holder = options.stages?.make(name, { clock, vectors, milliseconds })
    if (holder === undefined) {
      vectors.float32('theta').set(commonStart(size))
    }
    const own = options.kernels?.(name, vectors) ?? twins
    const honest =
      holder?.learner ??
      options.learn?.(name, { clock: mortalClock, vectors, milliseconds, process: store.starts, kernels: own }) ??
      createQuadraticLearner({
        clock,
        vectors,
        seed: `${options.seed} ${name} ${store.starts}`,
        milliseconds,
        kernels: own,
        ...options.learner,
      })
    const learner = mortal(options.meddle?.(name, honest) ?? honest, life)
    const saved = store.checkpoint
    if (saved !== undefined) {
      for (const [vector, bytes] of saved.vectors) {
        vectors.bytes(vector).set(bytes)
      }
      await learner.setStep(saved.step)
    }
    const records: RecordStore = {
      get: async (key) => store.records.get(key),
      put: async (key, value) => {
        // Disks take time; a kill in between leaves the record as it was.
        await mortalClock.sleep(3)
        options.onPut?.(process, key)
        if (!life.dead) {
          store.records.set(key, value.slice())
        }
      },
      delete: async (key) => void store.records.delete(key),
      keys: async (prefix, limit) =>
        [...store.records.keys()]
          .filter((key) => key.startsWith(prefix))
          .sort()
          .slice(0, limit),
    }
    const controller = new AbortController()
    const { process, modules: extra } = options.extend({
      name,
      learner,
      swarm,
      events: [],
      life,
      finished: false,
      strategy: undefined as unknown as Strategy,
      done: undefined as unknown as Promise<void>,
      kill() {
        life.dead = true
        peer.kill()
      },
      async stop() {
        controller.abort()
        await process.done
        blobs.stop()
        await swarm.stop()
        peer.kill()
      },
      checkpoint() {
        const moments = [...Object.keys(options.moments ?? {}), ...(holder?.stages.moments ?? [])]
        const names = ['theta', ...moments, ...process.strategy.state]
        const kept = new Map(names.map((vector) => [vector, vectors.bytes(vector).slice()]))
        // As in the daemon, what is kept has been text in between.
        const progress = JSON.parse(JSON.stringify(process.strategy.progress())) as Record<string, unknown>
        store.checkpoint = { step: learner.step(), progress, vectors: kept }
      },
    })
    const modules: StrategyModules = {
      swarm,
      learner,
      blobs,
      records: mortal(records, life),
      manifest: MANIFEST,
      training: { steps: options.steps ?? 100, evaluateEvery: options.evaluateEvery ?? 10 },
      report(event) {
        if (!life.dead) {
          if (options.keepEvents !== false) {
            process.events.push(event)
          }
          options.onEvent?.(process, event)
        }
      },
      ...(holder === undefined ? {} : { stages: mortal(holder.stages, life) }),
      ...extra,
    }
    Object.assign(process, { strategy: definition.create(strategy, modules, saved?.progress) })
    await clock.run(swarm.start())
    Object.assign(process, {
      done: process.strategy.run(controller.signal).then(() => {
        process.finished = true
      }),
    })
    process.done.catch(() => undefined)
    processes.set(name, process)
    return process
  }

  return { network, processes, start, disk }
}

/** Virtual ms after which a simulation counts as stuck. */
export const LIMIT = 3_600_000

/** Lets every process that lives come to its end. */
export async function finish<P extends Process>(world: World<P>): Promise<void> {
  const alive = (): P[] => [...world.processes.values()].filter(({ life }) => !life.dead)
  const broken: unknown[] = []
  for (const { done } of alive()) {
    done.catch((error: unknown) => broken.push(error))
  }
  await world.network.clock.runUntil(() => broken.length > 0 || alive().every(({ finished }) => finished), LIMIT)
  await Promise.all(alive().map(({ done }) => done))
}

/** The events of one kind that a process reported, in their order. */
export function eventsOf<K extends StrategyEvent['kind']>(
  process: Process,
  kind: K,
): Extract<StrategyEvent, { kind: K }>[] {
  return process.events.filter((event): event is Extract<StrategyEvent, { kind: K }> => event.kind === kind)
}

/** A peer's methods as plain properties, so that some can be replaced. */
function bound(peer: Transport): Transport {
  return {
    self: peer.self,
    clock: peer.clock,
    random: (purpose) => peer.random(purpose),
    connected: () => peer.connected(),
    onConnections: (listener) => peer.onConnections(listener),
    publish: (topic, data, signal) => peer.publish(topic, data, signal),
    subscribe: (topic, handler) => peer.subscribe(topic, handler),
    ask: (to, method, question, asked) => peer.ask(to, method, question, asked),
    answer: (method, answerer) => peer.answer(method, answerer),
    penalize: (name, reason) => peer.penalize(name, reason),
    sign: (data) => peer.sign(data),
    verify: (name, data, signature) => peer.verify(name, data, signature),
  }
}
