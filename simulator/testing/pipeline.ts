/** A swarm whose peers hold stages of the toy model of simulator/learners/linear-stages.ts; who holds what is fixed, or dealt as in the daemon. */
import assert from 'node:assert/strict'
import { SharedVectors, twins, type VectorSpec } from '../../kernels/index.ts'
import {
  Bell,
  type Held,
  type Holders,
  type Learner,
  type PeerName,
  type PipelineOptions,
  pipeline,
  pipelineOptionsSchema,
  quotaOf,
  type StageCut,
  type StageLearner,
  type StagePlace,
  StarlingError,
  type StrategyModules,
  slotsOf,
  stageCount,
} from '../../protocols/index.ts'
import { createLinearTrainer, linearCut, linearVectors } from '../learners/linear-stages.ts'
import { type StageTrainerLike, stagePeer } from '../learners/stage-peer.ts'
import * as worlds from './world.ts'

export { eventsOf, type Fate, finish, LIMIT } from './world.ts'

/** What a pipeline of these tests trains. */
export interface PipelineModel {
  readonly cut: StageCut
  /** Vectors for a cut with so many places and accumulators. */
  vectors(cut: StageCut): VectorSpec
  /** What computes at the peer with that name, whose data is its shard. */
  trainer(name: PeerName, cut: StageCut, vectors: SharedVectors): StageTrainerLike
}

/** The toy. */
export function linearModel(options: PipelineOptions, { rate = 0, rows = 3 } = {}): PipelineModel {
  const { places, microbatches, dataPeers } = options
  return {
    cut: linearCut({ stages: stageCount(options), places, microbatches, accumulators: dataPeers, rows }),
    vectors: linearVectors,
    trainer: (shard, cut, vectors) => createLinearTrainer({ cut, vectors, shard, rate }),
  }
}

/** Who holds which parts: 0 the ends, 1 and up the stages. */
export type Board = Record<PeerName, readonly number[]>

export interface WorldOptions {
  seed: number
  /** Options of the strategy, unchecked. */
  strategy: Record<string, unknown>
  /** Who holds what; without it the parts are dealt by protocols/pipeline/holders. */
  board?: Board
  steps?: number
  evaluateEvery?: number
  /** What is trained. Default the toy, at a learning rate of 0: the gradient of every step is known beforehand. */
  model?: PipelineModel
  /** Duration of each call to the stages, ms. Default 5. */
  milliseconds?: (name: PeerName) => number
  fate?: (from: PeerName, to: PeerName, method: string) => worlds.Fate
  network?: worlds.WorldOptions<PipelineOptions, Process>['network']
  /** Replaces the learner of a peer, e.g. by one that lies. */
  meddle?: (name: PeerName, learner: Learner) => Learner
}

export interface Process extends worlds.Process {
  readonly stages: StageLearner
}

/** A step of a part that a peer took. */
export interface Taken {
  peer: PeerName
  /** Which of its processes. */
  life: number
  part: number
  step: number
  gradient: Float32Array
}

export interface World extends worlds.World<Process> {
  readonly cut: StageCut
  readonly model: PipelineModel
  readonly options: PipelineOptions
  /** Every optimizer step that any peer took, in order. */
  readonly taken: Taken[]
  /** Most microbatches that a peer kept for one part, ever: 'peer part'. */
  readonly most: Map<string, number>
  /** Microbatches that a peer keeps now. */
  readonly open: Map<string, Set<number>>
}

export function createWorld(options: WorldOptions): World {
  const strategy = pipelineOptionsSchema.parse(options.strategy)
  const model = options.model ?? linearModel(strategy)
  const { cut } = model
  const taken: Taken[] = []
  const most = new Map<string, number>()
  const open = new Map<string, Set<number>>()
  const finished = new Set<PeerName>()
  const bells = new Set<Bell>()
  const learners = new Map<PeerName, StageLearner>()

  const world: worlds.World<Process> = worlds.createWorld<PipelineOptions, Process>({
    seed: options.seed,
    definition: pipeline,
    strategy,
    steps: options.steps ?? 10,
    evaluateEvery: options.evaluateEvery ?? 5,
    ...(options.fate === undefined ? {} : { fate: options.fate }),
    ...(options.network === undefined ? {} : { network: options.network }),
    ...(options.meddle === undefined ? {} : { meddle: options.meddle }),
    stages: {
      cut,
      vectors: model.vectors(cut),
      make(name, { clock, vectors }) {
        for (let part = 0; part <= cut.stages; part++) {
          open.set(`${name} ${part}`, new Set())
        }
        const life = world.disk(name).starts
        const trainer = traced(model.trainer(name, cut, vectors), vectors, {
          onStep: (part, gradient, step) => void taken.push({ peer: name, life, part, step, gradient }),
          onOpen(part, slot) {
            const key = `${name} ${part}`
            open.get(key)!.add(slot)
            most.set(key, Math.max(most.get(key) ?? 0, open.get(key)!.size))
          },
          onClose: (part, slot) => void open.get(`${name} ${part}`)!.delete(slot),
        })
        const milliseconds = (): number => options.milliseconds?.(name) ?? 5
        const peer = stagePeer(trainer, { clock, vectors, kernels: twins, milliseconds })
        learners.set(name, peer.stages)
        return peer
      },
    },
    extend(common) {
      const stages = learners.get(common.name)!
      const process: Process = Object.assign(common, { stages })
      const { board } = options
      if (board === undefined) {
        return { process }
      }
      const modules = { swarm: common.swarm, learner: common.learner, stages }
      return {
        process,
        modules: { holders: new FixedHolders(board, modules, { finished, bells, world: () => world }) },
      }
    },
  })
  return { ...world, cut, model, options: strategy, taken, most, open }
}

/** Who holds what, written on a board that everybody sees. A process that begins takes the common start of its parts. */
class FixedHolders implements Holders {
  readonly bell = new Bell()
  readonly #board: Board
  readonly #modules: Pick<StrategyModules, 'swarm' | 'learner'> & { stages: StageLearner }
  readonly #shared: { finished: Set<PeerName>; bells: Set<Bell>; world: () => worlds.World<Process> }
  readonly #held = new Map<number, Held>()
  /** Until when a holder is not used. */
  readonly #suspects = new Map<string, number>()
  #stop = (): void => {}

  constructor(
    board: Board,
    modules: Pick<StrategyModules, 'swarm' | 'learner'> & { stages: StageLearner },
    shared: { finished: Set<PeerName>; bells: Set<Bell>; world: () => worlds.World<Process> },
  ) {
    this.#board = board
    this.#modules = modules
    this.#shared = shared
  }

  async start(): Promise<void> {
    const { swarm, stages } = this.#modules
    this.#stop = swarm.onConnections(() => this.bell.ring())
    this.#shared.bells.add(this.bell)
    let next = 0
    for (const part of this.#board[swarm.self] ?? []) {
      const place: StagePlace = part === 0 ? 'ends' : next++
      await stages.initial(part, place)
      this.#held.set(part, { stage: part, place, step: 0, applied: 0, rate: 1, epoch: 0 })
    }
    if (this.#held.has(0)) {
      this.#resume()
    }
    this.bell.ring()
  }

  /** A data peer that was killed goes on where the stages are. */
  #resume(): void {
    const steps = [...this.#shared.world().processes.values()].flatMap(({ learner, life }) =>
      life.dead ? [] : learner.step(),
    )
    this.#held.set(0, { ...this.#held.get(0)!, step: Math.max(0, ...steps) })
  }

  async stop(): Promise<void> {
    this.#stop()
  }

  ready(part: number): readonly PeerName[] {
    const { swarm } = this.#modules
    const now = swarm.clock.now()
    const here = new Set([swarm.self, ...swarm.connected()])
    return Object.keys(this.#board)
      .filter((peer) => here.has(peer) && this.#board[peer]!.includes(part))
      .filter((peer) => (this.#suspects.get(`${part} ${peer}`) ?? 0) <= now)
      .filter((peer) => peer !== swarm.self || this.#held.has(part))
  }

  dataPeers(): readonly PeerName[] {
    return this.ready(0).toSorted()
  }

  held(part: number): Held | undefined {
    return this.#held.get(part)
  }

  holds(): readonly Held[] {
    return [...this.#held.values()]
  }

  update(part: number, { step, norm }: { step: number; norm: number }): void {
    const held = this.#held.get(part)!
    this.#held.set(part, { ...held, step, norm, applied: held.applied + 1 })
  }

  measured(): void {}

  suspect(part: number, peer: PeerName): void {
    const { clock } = this.#modules.swarm
    this.#suspects.set(`${part} ${peer}`, clock.now() + 500)
    void clock.sleep(500).then(() => this.bell.ring())
  }

  speed(): undefined {
    return undefined
  }

  waiting(): undefined {
    return undefined
  }

  origin(): 'initial' {
    return 'initial'
  }

  async fetch(part: number, into: Float32Array): Promise<{ step: number }> {
    const { processes } = this.#shared.world()
    for (const peer of this.ready(part)) {
      const process = processes.get(peer)
      if (process !== undefined && !process.life.dead) {
        const { sizes } = process.stages.cut
        const place = this.#board[peer]!.filter((other) => other > 0).indexOf(part)
        const begin = part === 0 ? 0 : sizes[0]! + place * Math.max(...sizes.slice(1))
        into.set(process.learner.float32('theta').subarray(begin, begin + sizes[part]!))
        return { step: process.learner.step() }
      }
    }
    throw new StarlingError('no-holder', `nobody gave part ${part}`, { part })
  }

  finish(): void {
    this.#shared.finished.add(this.#modules.swarm.self)
    for (const bell of this.#shared.bells) {
      bell.ring()
    }
  }

  finished(): boolean {
    return Object.keys(this.#board).every((peer) => !this.#board[peer]!.includes(0) || this.#shared.finished.has(peer))
  }

  progress(): Record<string, unknown> {
    return {}
  }
}

/** What {@link traced} tells. */
interface Trace {
  /** Before the optimizer step of a part: its gradient. */
  onStep(part: number, gradient: Float32Array, step: number): void
  /** A forward pass of a part keeps something, until its backward pass, or until it is dropped. */
  onOpen(part: number, slot: number): void
  onClose(part: number, slot: number): void
}

/** The same trainer, watched. */
function traced(
  trainer: StageTrainerLike,
  vectors: SharedVectors,
  { onStep, onOpen, onClose }: Trace,
): StageTrainerLike {
  const { cut } = trainer
  /** Which part is where, and which has kept something under a slot. */
  const parts = new Map<StagePlace, number>([['ends', 0]])
  const slots = new Map<number, StagePlace>()
  const close = (slot: number): void => {
    const place = slots.get(slot)
    if (place !== undefined) {
      slots.delete(slot)
      onClose(parts.get(place)!, slot)
    }
  }
  const open = (place: StagePlace, slot: number | undefined): void => {
    if (slot !== undefined) {
      slots.set(slot, place)
      onOpen(parts.get(place)!, slot)
    }
  }
  const hold = (place: StagePlace, part: number): void => {
    for (const [slot, other] of [...slots]) {
      if (other === place) {
        close(slot)
      }
    }
    parts.set(place, part)
  }
  return {
    cut,
    moments: trainer.moments,
    validationParts: () => trainer.validationParts(),
    hold(place, stage, fresh) {
      trainer.hold(place, stage, fresh)
      hold(place, stage)
    },
    initial(part, place) {
      trainer.initial(part, place)
      hold(place, part)
    },
    embed(source, slot) {
      const rows = trainer.embed(source, slot)
      open('ends', slot)
      return rows
    },
    forward(place, rows, slot) {
      trainer.forward(place, rows, slot)
      open(place, slot)
    },
    loss: (source, accumulator) => trainer.loss(source, accumulator),
    backward(slot, accumulator) {
      trainer.backward(slot, accumulator)
      close(slot)
    },
    drop(slot) {
      trainer.drop(slot)
      close(slot)
    },
    clear: (place, accumulator) => trainer.clear(place, accumulator),
    step(place, accumulator, schedule) {
      const name = accumulator === 0 ? 'gradient' : `gradient-${accumulator}`
      const part = parts.get(place)!
      const begin = place === 'ends' ? 0 : cut.sizes[0]! + place * Math.max(...cut.sizes.slice(1))
      const gradient = vectors.float32(name).slice(begin, begin + cut.sizes[part]!)
      const taken = trainer.step(place, accumulator, schedule)
      onStep(part, gradient, schedule.step)
      return taken
    },
    logits: (row) => trainer.logits(row),
  }
}

/** The network in one piece: gradients of every part at the common start, of the step's batch of a data peer's shard, with the microbatches in those orders of stages. */
export function exactGradients(
  model: PipelineModel,
  shard: string,
  step: number,
  orders: readonly (readonly number[])[],
): { gradients: Float32Array[]; loss: number } {
  const cut = { ...model.cut, places: model.cut.stages, accumulators: 1 }
  const vectors = SharedVectors.create(model.vectors(cut))
  const trainer = model.trainer(shard, cut, vectors)
  trainer.initial(0, 'ends')
  for (let stage = 1; stage <= cut.stages; stage++) {
    trainer.initial(stage, stage - 1)
  }
  let loss = 0
  let samples = 0
  for (const [microbatch, order] of orders.entries()) {
    const source = { kind: 'training', batch: step - 1, microbatch } as const
    const rows = trainer.embed(source, 0)
    for (const stage of order) {
      trainer.forward(stage - 1, rows, stage)
    }
    const found = trainer.loss(source, 0)
    loss += found.loss
    samples += found.samples
    for (const stage of [...order].reverse()) {
      trainer.backward(stage, 0)
    }
    trainer.backward(0, 0)
  }
  const gradient = vectors.float32('gradient')
  const longest = Math.max(...cut.sizes.slice(1))
  const gradients = cut.sizes.map((size, part) => {
    const begin = part === 0 ? 0 : cut.sizes[0]! + (part - 1) * longest
    return gradient.slice(begin, begin + size)
  })
  return { gradients, loss: loss / samples }
}

/** Starts everybody on the board. */
export async function startAll(world: World, board: Board): Promise<void> {
  for (const name of Object.keys(board)) {
    await world.start(name)
  }
}

/** Largest difference of two vectors. */
export const distance = (a: Float32Array, b: Float32Array): number => {
  assert.equal(a.length, b.length)
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0)
}

/** Lets every process come to its end; says who hangs where it does not. */
export async function settle(world: World, seed: number): Promise<void> {
  try {
    await worlds.finish(world)
    // What is given back at the end takes its time too.
    await world.network.clock.advance(1_000)
  } catch (error) {
    const where = [...world.processes.values()].map(
      ({ name, learner, finished, events }) =>
        `${name}: step ${learner.step()}${finished ? ', finished' : ''}, last ${JSON.stringify(events.slice(-3))}`,
    )
    throw new Error(`seed ${seed} at ${world.network.clock.now()} ms: ${error}\n${where.join('\n')}`, { cause: error })
  }
}

/** Asserts that no more microbatches were kept than there was memory for, and that none is left behind. */
function checkMemory({ options, most, open, processes }: World, what: string): void {
  for (const [key, count] of most) {
    const part = key.split(' ')[1]
    const room = part === '0' ? quotaOf(options) : slotsOf(options)
    assert.ok(count <= room, `${what}: ${key} kept ${count} microbatches, room is for ${room}`)
  }
  for (const [key, slots] of open) {
    const alive = processes.get(key.split(' ')[0]!)?.life.dead === false
    assert.ok(!alive || slots.size === 0, `${what}: ${key} has ${slots.size} microbatches left`)
  }
}

/**
 * Asserts that what was committed is, for every step of every data peer, the exact gradient of each stage (over all its replicas) and of the ends, each counted once;
 * and that memory was kept to. For a world whose parameters never change.
 */
export function checkCommitted(world: World, board: Board, orders: readonly (readonly number[])[], what: string): void {
  const { cut, model, taken } = world
  checkMemory(world, what)
  const dataPeers = Object.keys(board).filter((peer) => board[peer]!.includes(0))
  for (const step of new Set(taken.map((each) => each.step))) {
    const exact = dataPeers.map((peer) => exactGradients(model, peer, step, orders).gradients)
    for (let part = 0; part <= cut.stages; part++) {
      const sum = new Float32Array(cut.sizes[part]!)
      for (const each of taken.filter((one) => one.step === step && one.part === part)) {
        each.gradient.forEach((value, i) => {
          sum[i] = sum[i]! + value
        })
      }
      const wanted = sum.map((_, i) => exact.reduce((total, gradients) => total + gradients[part]![i]!, 0))
      const off = distance(sum, wanted)
      assert.ok(off < 1e-5, `${what}: part ${part} of step ${step} is off by ${off}`)
    }
  }
}

/**
 * The same where processes die, and every stage has one holder: each optimizer step that any part took is exactly the gradient of one data peer's step, and no process took one twice;
 * at most `lost` steps of parts are missing, whose holder died between saying that it has all and taking the step.
 */
export function checkTaken(
  world: World,
  board: Board,
  orders: readonly (readonly number[])[],
  lost: number,
  what: string,
): void {
  const { cut, model, taken } = world
  checkMemory(world, what)
  const dataPeers = Object.keys(board).filter((peer) => board[peer]!.includes(0))
  const seen = new Set<string>()
  const once = new Set<string>()
  for (const { peer, life, part, step, gradient } of taken) {
    const off = dataPeers.map((peer) => distance(gradient, exactGradients(model, peer, step, orders).gradients[part]!))
    const least = Math.min(...off)
    assert.ok(least < 1e-5, `${what}: part ${part} of step ${step} is off by ${least}`)
    const name = `${part} ${step} ${dataPeers[off.indexOf(least)]}`
    assert.ok(!once.has(`${name} ${peer} ${life}`), `${what}: part ${part} took step ${step} twice`)
    once.add(`${name} ${peer} ${life}`)
    seen.add(name)
  }
  const last = Math.max(...taken.map(({ step }) => step))
  const missing = last * (cut.stages + 1) * dataPeers.length - seen.size
  assert.ok(missing <= lost, `${what}: ${missing} steps of parts are missing`)
}
