/** A swarm of NoLoCo peers with quadratic learners, whose processes can be killed at any moment and started again on the same disk. */
import { SharedVectors } from '../../kernels/index.ts'
import {
  type AskOptions,
  createBlobs,
  createSwarm,
  type ExchangePhase,
  type Learner,
  type NolocoModules,
  noloco,
  nolocoOptionsSchema,
  type PeerName,
  type RecordStore,
  type RunningSwarm,
  StarlingError,
  type Strategy,
  type StrategyEvent,
  type Transport,
} from '../../protocols/index.ts'
import { createMemoryNetwork, createQuadraticLearner, type Life, type MemoryNetwork, mortal } from '../index.ts'

/** What becomes of one question. */
export type Fate = 'delivered' | 'question-lost' | 'answer-lost'

export interface WorldOptions {
  seed: number
  size?: number
  steps?: number
  noise?: number
  learningRate?: (step: number) => number
  /** Options of the strategy, unchecked. */
  strategy?: Record<string, unknown>
  /** Decides over each question to a peer. */
  fate?: (from: PeerName, to: PeerName, method: string) => Fate
  /** Called at each moment of an exchange; it may kill the process. */
  onPhase?: (process: Process, phase: ExchangePhase) => void
  latency?: readonly [number, number]
}

/** What survives a process. */
interface Disk {
  records: Map<string, Uint8Array>
  checkpoint?: { step: number; progress: Record<string, unknown>; vectors: Map<string, Uint8Array> }
  starts: number
  /** Partner by round, undefined for a round alone, as of the replica that the peer has now. */
  lineage: Map<number, PeerName | undefined>
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
  readonly phases: { phase: ExchangePhase; round: number }[]
  finished: boolean
  kill(): void
  stop(): Promise<void>
  checkpoint(): void
}

export interface World {
  readonly network: MemoryNetwork
  /** Processes by name, the latest of each peer. */
  readonly processes: Map<PeerName, Process>
  start(name: PeerName, options?: { milliseconds?: number }): Promise<Process>
  disk(name: PeerName): Disk
}

export function createWorld(options: WorldOptions): World {
  const network = createMemoryNetwork({ seed: options.seed, latency: options.latency ?? [2, 20] })
  const { clock } = network
  const size = options.size ?? 512
  const strategyOptions = nolocoOptionsSchema.parse(options.strategy ?? {})
  const disks = new Map<PeerName, Disk>()
  const processes = new Map<PeerName, Process>()

  const disk = (name: PeerName): Disk => {
    const found: Disk = disks.get(name) ?? { records: new Map(), starts: 0, lineage: new Map() }
    disks.set(name, found)
    return found
  }

  const start = async (name: PeerName, { milliseconds = 250 } = {}): Promise<Process> => {
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
        const answer = await peer.ask(to, method, question, asked)
        return decided === 'answer-lost' ? lost() : answer
      },
    }
    const transport = { ...bound(mortal(lossy, life)), self: name, clock: mortalClock }
    const swarm = createSwarm(transport, { run: 'the-run', incarnation: store.starts })
    const blobs = createBlobs(transport)
    const vectors = SharedVectors.create({
      theta: { type: 'float32', length: size },
      gradient: { type: 'float32', length: size },
      ...noloco.vectors(size, strategyOptions),
    })
    // The common start of the run: not where it ends, and not the same in every element.
    vectors.float32('theta').forEach((_, i, theta) => {
      theta[i] = 4 + Math.sin(i)
    })
    const learner = mortal(
      createQuadraticLearner({
        clock,
        vectors,
        seed: `${options.seed} ${name} ${store.starts}`,
        milliseconds,
        noise: options.noise ?? 1,
        learningRate: options.learningRate ?? (() => 0.05),
      }),
      life,
    )
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
        store.records.set(key, value.slice())
      },
      delete: async (key) => void store.records.delete(key),
      keys: async (prefix, limit) =>
        [...store.records.keys()]
          .filter((key) => key.startsWith(prefix))
          .sort()
          .slice(0, limit),
    }
    const events: StrategyEvent[] = []
    const controller = new AbortController()
    let first = true
    const record = (round: number, partner: PeerName | undefined): void => {
      if (first) {
        // What this process begins with replaces what the one before it had done since.
        for (const key of [...store.lineage.keys()].filter((key) => key >= round)) {
          store.lineage.delete(key)
        }
        first = false
      }
      store.lineage.set(round, partner)
    }
    const process: Process = {
      name,
      learner,
      swarm,
      events,
      life,
      phases: [],
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
        const kept = new Map(process.strategy.state.map((vector) => [vector, vectors.bytes(vector).slice()]))
        store.checkpoint = { step: learner.step(), progress: process.strategy.progress(), vectors: kept }
      },
    }
    const modules: NolocoModules = {
      swarm,
      learner,
      blobs,
      records: mortal(records, life),
      training: { steps: options.steps ?? 100, evaluateEvery: 10 },
      report(event) {
        if (life.dead) {
          return
        }
        events.push(event)
        if (event.kind === 'exchange') {
          record(event.round, event.partner)
        } else if (event.kind === 'exchange-skipped') {
          record(event.round, undefined)
        } else if (event.kind === 'joined') {
          store.lineage.clear()
          first = false
          // The daemon's first one comes with the first round; later ones are up to the test.
          setImmediate(() => life.dead || process.checkpoint())
        }
      },
      onPhase(phase) {
        process.phases.push({ phase, round: Number(process.strategy.progress().round) + 1 })
        options.onPhase?.(process, phase)
        // Whoever was killed right now does not come back from here.
        return life.dead ? new Promise(() => {}) : undefined
      },
    }
    Object.assign(process, { strategy: noloco.create(strategyOptions, modules, saved?.progress) })
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

/** Rounds in which two peers do not agree about having met, in words; empty when all is well. */
export function disagreements(world: World): string[] {
  const found: string[] = []
  for (const [name] of world.processes) {
    for (const [round, partner] of world.disk(name).lineage) {
      if (partner === undefined) {
        continue
      }
      const other = world.disk(partner).lineage
      if (other.size > 0 && other.get(round) !== name && Math.min(...other.keys()) <= round) {
        found.push(
          `round ${round}: ${name} met ${partner}, which ${other.has(round) ? `met ${other.get(round) ?? 'nobody'}` : 'skipped it'}`,
        )
      }
    }
  }
  return found
}
