/** Peers that hold the stages of a model that is plain numbers, over the memory network, and steps without microbatches: for tests of who holds what. */
import { SharedVectors, twins } from '../../kernels/index.ts'
import {
  type ComputeContext,
  createBlobs,
  createHolders,
  createSwarm,
  type Holders,
  holdersVectors,
  type Learner,
  type PeerName,
  pipelineOptionsSchema,
  type RecordStore,
  type RunningSwarm,
  type StageCut,
  type StageLearner,
  StarlingError,
  type StrategyEvent,
} from '../../protocols/index.ts'
import {
  createMemoryNetwork,
  type Life,
  type MemoryNetwork,
  type MemoryNetworkOptions,
  type MemoryPeer,
  mortal,
} from '../index.ts'

/** Elements of the ends and of each stage. */
export const ENDS = 48
export const STAGE = 32

/** Time of a step at a data peer beside the questions, ms. */
const STEP = 200

export interface HoldersWorldOptions {
  seed: number
  stages?: number
  /** Options of the strategy, unchecked. */
  strategy?: Record<string, unknown>
  /** Steps of the run. Default: it does not end. */
  steps?: number
  network?: Omit<MemoryNetworkOptions, 'seed'>
}

/** What survives a process. */
interface Disk {
  records: Map<string, Uint8Array>
  checkpoint?: { progress: Record<string, unknown>; vectors: Map<string, Uint8Array> }
}

export interface HolderProcess {
  readonly name: PeerName
  readonly peer: MemoryPeer
  readonly swarm: RunningSwarm
  readonly holders: Holders
  readonly stages: StageLearner
  readonly events: StrategyEvent[]
  readonly life: Life
  float32(name: string): Float32Array
  /** Parameters of a part that it holds. */
  theta(part: number): Float32Array
  kill(): void
  stop(): Promise<void>
  checkpoint(): void
}

export interface HoldersWorld {
  readonly network: MemoryNetwork
  readonly processes: Map<PeerName, HolderProcess>
  start(name: PeerName): Promise<HolderProcess>
  alive(): HolderProcess[]
  /** Living processes that hold a part ready. */
  holding(part: number): HolderProcess[]
  /** Whether every part has a ready holder that every living process can use. */
  whole(): boolean
}

/** The run's common start of a part. */
export function startOf(part: number): Float32Array {
  const size = part === 0 ? ENDS : STAGE
  return Float32Array.from({ length: size }, (_, i) => Math.sin(1 + i + 100 * part))
}

export function createHoldersWorld(options: HoldersWorldOptions): HoldersWorld {
  const network = createMemoryNetwork({ latency: [1, 10], ...options.network, seed: options.seed })
  const { clock } = network
  const count = options.stages ?? 6
  const checked = pipelineOptionsSchema.parse({ stages: count, ...options.strategy })
  const cut: StageCut = {
    stages: count,
    sizes: [ENDS, ...Array.from({ length: count }, () => STAGE)],
    layers: [0, ...Array.from({ length: count }, () => 1)],
    stream: Array.from({ length: count + 1 }, () => 16),
    alike: true,
    rows: 1,
    microbatches: checked.microbatches,
    places: checked.places,
    accumulators: checked.dataPeers,
  }
  const disks = new Map<PeerName, Disk>()
  const processes = new Map<PeerName, HolderProcess>()

  const start = async (name: PeerName): Promise<HolderProcess> => {
    const disk: Disk = disks.get(name) ?? { records: new Map() }
    disks.set(name, disk)
    const life: Life = { dead: false }
    const peer = network.peers.includes(name) ? network.peer(name) : network.join(name)
    if (!peer.alive) {
      peer.revive()
    }
    const mortalClock = mortal(clock, life)
    const transport = mortal(
      new Proxy(peer, { get: (target, key) => (key === 'clock' ? mortalClock : Reflect.get(target, key, target)) }),
      life,
    )
    const incarnation = Number(disk.records.get('process')?.[0] ?? 0) + 1
    disk.records.set('process', Uint8Array.of(incarnation))
    const swarm = createSwarm(transport, { run: 'run', incarnation })
    const blobs = createBlobs(transport)
    const length = ENDS + checked.places * STAGE
    const gradients = Array.from({ length: checked.dataPeers }, (_, i) => (i === 0 ? 'gradient' : `gradient-${i}`))
    const vectors = SharedVectors.create({
      ...Object.fromEntries(['theta', 'm', ...gradients].map((vector) => [vector, { type: 'float32', length }])),
      ...holdersVectors(cut, checked),
    })
    const stages = mortal(createStages(cut, vectors, gradients), life)
    const context: ComputeContext = {
      kernels: twins,
      float32: (vector) => vectors.float32(vector),
      int32: (vector) => vectors.int32(vector),
      bytes: (vector) => vectors.bytes(vector),
    }
    const refuse = async (): Promise<never> => {
      throw new StarlingError('no-whole-model', 'this peer holds stages', {})
    }
    const learner: Learner = mortal(
      {
        size: length,
        ...context,
        step: () => 0,
        setStep: async () => {},
        initial: refuse,
        train: refuse,
        evaluate: refuse,
        lossAt: refuse,
        gradient: refuse,
        compute: async <A, R>(task: { run(context: ComputeContext, args: A): R }, args: A) => task.run(context, args),
      },
      life,
    )
    const records: RecordStore = {
      get: async (key) => disk.records.get(key),
      put: async (key, value) => void disk.records.set(key, value.slice()),
      delete: async (key) => void disk.records.delete(key),
      keys: async () => [],
    }
    for (const [vector, bytes] of disk.checkpoint?.vectors ?? []) {
      vectors.bytes(vector).set(bytes)
    }
    const events: StrategyEvent[] = []
    const modules = {
      swarm,
      learner,
      blobs,
      records: mortal(records, life),
      manifest: new Uint8Array(0),
      training: { steps: options.steps ?? 1_000_000, evaluateEvery: 10 },
      report: (event: StrategyEvent) => void (life.dead || events.push(event)),
      stages,
    }
    const holders = createHolders({ modules, options: checked, cut, resumed: disk.checkpoint?.progress })
    const stopped = new AbortController()
    const process: HolderProcess = {
      name,
      peer,
      swarm,
      holders,
      stages,
      events,
      life,
      float32: (vector) => vectors.float32(vector),
      theta(part) {
        const held = holders.held(part)
        if (held === undefined) {
          throw new Error(`${name} does not hold part ${part}`)
        }
        const begin = held.place === 'ends' ? 0 : ENDS + held.place * STAGE
        return vectors.float32('theta').subarray(begin, begin + cut.sizes[part]!)
      },
      kill() {
        life.dead = true
        peer.kill()
      },
      async stop() {
        stopped.abort()
        await holders.stop()
        await swarm.stop()
        life.dead = true
        peer.kill()
      },
      checkpoint() {
        const kept = ['theta', 'm'].map((vector) => [vector, vectors.bytes(vector).slice()] as const)
        disk.checkpoint = {
          progress: JSON.parse(JSON.stringify(holders.progress())) as Record<string, unknown>,
          vectors: new Map(kept),
        }
      },
    }
    processes.set(name, process)
    swarm.answer('test-step', async (from, question) => {
      const [part = 0, step = 0] = JSON.parse(new TextDecoder().decode(question)) as number[]
      const held = holders.held(part)
      if (held === undefined) {
        throw new StarlingError('moved', `no stage ${part} here`, { from })
      }
      await stepOnce(process, part, step)
      return new Uint8Array(0)
    })
    await clock.run(swarm.start())
    await clock.run(holders.start(stopped.signal))
    void drive(process, count, stopped.signal)
    return process
  }

  const alive = (): HolderProcess[] => [...processes.values()].filter(({ life }) => !life.dead)
  const holding = (part: number): HolderProcess[] => alive().filter(({ holders }) => holders.held(part) !== undefined)
  return {
    network,
    processes,
    start,
    alive,
    holding,
    whole: () =>
      Array.from({ length: count + 1 }, (_, part) => part).every((part) => {
        const names = new Set(holding(part).map(({ name }) => name))
        return alive().every(({ holders }) => holders.ready(part).some((name) => names.has(name)))
      }),
  }
}

/** One optimizer step of a part: parameters move a little, the norm depends on the part, and the moment counts. */
async function stepOnce({ holders, stages }: HolderProcess, part: number, step: number): Promise<void> {
  const held = holders.held(part)
  if (held === undefined || held.step >= step) {
    return
  }
  const { gradientNorm } = await stages.step(held.place, 0, { step, applied: held.applied + 1, rate: held.rate })
  holders.update(part, { step, norm: gradientNorm })
}

/** What a data peer does: one step after the other, of all stages and then of the ends. */
async function drive(process: HolderProcess, stages: number, signal: AbortSignal): Promise<void> {
  const { swarm, holders } = process
  while (!signal.aborted && !process.life.dead) {
    await swarm.clock.sleep(STEP, signal).catch(() => undefined)
    const ends = holders.held(0)
    if (ends === undefined || signal.aborted) {
      continue
    }
    const step = ends.step + 1
    const peers = Array.from({ length: stages }, (_, index) => turnOf(holders.ready(index + 1), step))
    const asked = peers.map((peer, index) => peer !== undefined && askStep(process, peer, index + 1, step))
    if ((await Promise.all(asked)).every((done) => done)) {
      await stepOnce(process, 0, step)
    } else {
      await holders.bell.wait(swarm.clock, 200, signal)
    }
  }
}

/** Holders of one stage take turns. */
const turnOf = (peers: readonly PeerName[], step: number): PeerName | undefined => peers[step % peers.length]

async function askStep(process: HolderProcess, peer: PeerName, stage: number, step: number): Promise<boolean> {
  const { swarm, holders } = process
  if (peer === swarm.self) {
    await stepOnce(process, stage, step)
    return true
  }
  try {
    await swarm.ask(peer, 'test-step', new TextEncoder().encode(JSON.stringify([stage, step])), { timeout: 1_000 })
    return true
  } catch (error) {
    const code = error instanceof StarlingError ? error.code : ''
    const reason = code === 'peer-unreachable' ? 'disconnected' : code === 'ask-timeout' ? 'silent' : 'refused'
    holders.suspect(stage, peer, reason)
    return false
  }
}

function createStages(cut: StageCut, vectors: SharedVectors, gradients: readonly string[]): StageLearner {
  const range = (place: 'ends' | number, vector: string): Float32Array => {
    const begin = place === 'ends' ? 0 : ENDS + place * STAGE
    return vectors.float32(vector).subarray(begin, begin + (place === 'ends' ? ENDS : STAGE))
  }
  const refuse = async (): Promise<never> => {
    throw new StarlingError('no-flow', 'these stages only step', {})
  }
  return {
    cut,
    moments: ['m'],
    validationParts: refuse,
    async hold(place, _stage, fresh) {
      for (const vector of [...gradients, ...(fresh ? ['m'] : [])]) {
        range(place, vector).fill(0)
      }
    },
    async initial(part, place) {
      range(place, 'theta').set(startOf(part))
      for (const vector of [...gradients, 'm']) {
        range(place, vector).fill(0)
      }
    },
    embed: refuse,
    forward: refuse,
    loss: refuse,
    backward: refuse,
    drop: refuse,
    async clear(place, accumulator) {
      range(place, gradients[accumulator]!).fill(0)
    },
    async step(place, _accumulator, { applied, rate }) {
      const theta = range(place, 'theta')
      const moment = range(place, 'm')
      // What it moves by shows how the optimizer stands: a moment that was not fresh, or not handed over, is seen in the parameters.
      theta.forEach((value, i) => {
        moment[i] = 0.9 * moment[i]! + value
        theta[i] = value - (0.001 * rate * moment[i]!) / applied
      })
      return { gradientNorm: 1 + Math.abs(theta[0]!), learningRate: rate }
    },
    logits: refuse,
  }
}
