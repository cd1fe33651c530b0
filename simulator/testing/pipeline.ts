/** A swarm whose peers hold stages of the toy model of simulator/learners/linear-stages.ts; who holds what is fixed, or dealt as in the daemon. */
import assert from 'node:assert/strict'
import { SharedVectors, twins, type VectorSpec } from '../../kernels/index.ts'
import {
  type Bell,
  type Learner,
  type PathGenerator,
  type PeerName,
  type PipelineOptions,
  pipeline,
  pipelineOptionsSchema,
  quotaOf,
  type StageCut,
  type StageLearner,
  slotsOf,
  stageCount,
} from '../../protocols/index.ts'
import { createLinearTrainer, linearCut, linearVectors } from '../learners/linear-stages.ts'
import { type StageTrainerLike, stagePeer } from '../learners/stage-peer.ts'
import { type Board, FixedHolders } from './fixed-holders.ts'
import { traced } from './traced-stages.ts'
import * as worlds from './world.ts'

export type { Board } from './fixed-holders.ts'
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
  /** Where microbatches go, instead of what the options say. */
  paths?: PathGenerator
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
      const paths = options.paths === undefined ? {} : { paths: options.paths }
      if (board === undefined) {
        return { process, modules: paths }
      }
      const modules = { swarm: common.swarm, learner: common.learner, stages }
      return {
        process,
        modules: { ...paths, holders: new FixedHolders(board, modules, { finished, bells, world: () => world }) },
      }
    },
  })
  return { ...world, cut, model, options: strategy, taken, most, open }
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
