/** Stages that compute nothing but take their time, and a view of who holds what that never changes: what plans are timed with. */
import { setTimeout as sleep } from 'node:timers/promises'
import { loadKernels, SharedVectors, type VectorSpec } from '../../../kernels/index.ts'
import {
  Bell,
  type ComputeContext,
  type Held,
  type Holders,
  type Learner,
  type PeerName,
  type StageCut,
  type StageLearner,
  StarlingError,
} from '../../../protocols/index.ts'

/** Milliseconds of the work on one microbatch. */
export interface StillTimes {
  embed: number
  forward: number
  /** Head, loss and their gradients. */
  loss: number
  backward: number
}

/** Values of a row in the stream: little, so that the links' delays are what a hand-over takes. */
const WIDTH = 16

/** A cut of a model that is nothing but its number of stages; one row to a microbatch. */
export const stillCut = (stages: number, microbatches: number, dataPeers: number): StageCut => ({
  stages,
  sizes: Array.from({ length: stages + 1 }, () => WIDTH),
  layers: Array.from({ length: stages + 1 }, (_, part) => (part === 0 ? 0 : 1)),
  stream: Array.from({ length: stages + 1 }, () => WIDTH),
  alike: true,
  rows: 1,
  microbatches,
  places: 1,
  accumulators: dataPeers,
})

/** Stages at one peer that take `times` and leave zeros, and the learner beside them. `vectors`: what the strategy needs. */
export function stillStages(
  cut: StageCut,
  times: StillTimes,
  vectors: VectorSpec,
): { stages: StageLearner; learner: Learner } {
  const shared = SharedVectors.create({
    ...vectors,
    theta: { type: 'float32', length: 2 * WIDTH },
    stream: { type: 'float32', length: WIDTH },
  })
  const context: ComputeContext = {
    kernels: loadKernels(shared),
    float32: (name) => shared.float32(name),
    int32: (name) => shared.int32(name),
    bytes: (name) => shared.bytes(name),
  }
  const nothing = async (): Promise<void> => {}
  const none = async (): Promise<never> => {
    throw new StarlingError('no-whole-model', 'there is no model here')
  }
  let step = 0
  const embedded = new Set<number>() // slots of the ends, as many as are under way
  return {
    stages: {
      cut,
      moments: [],
      validationParts: async () => 1,
      hold: nothing,
      initial: nothing,
      async embed(_source, slot) {
        if (slot !== undefined) embedded.add(slot)
        await sleep(times.embed)
        return 1
      },
      forward: async () => void (await sleep(times.forward)),
      async loss() {
        await sleep(times.loss)
        return { loss: 1, samples: 1, right: 0 }
      },
      backward: async (slot) => void (await sleep(embedded.delete(slot) ? times.embed : times.backward)),
      async drop(slot) {
        embedded.delete(slot)
      },
      clear: nothing,
      step: async () => ({ gradientNorm: 1, learningRate: 1 }),
      logits: async () => new Float32Array(1),
    },
    learner: {
      size: 2 * WIDTH,
      step: () => step,
      async setStep(next) {
        step = next
      },
      initial: none,
      train: none,
      evaluate: none,
      lossAt: none,
      gradient: none,
      compute: async (task, args) => task.run(context, args),
      float32: context.float32,
      int32: context.int32,
      bytes: context.bytes,
    },
  }
}

/** Holders that are what they are from the beginning to the end. `of`: of each part, the ends first. */
export function fixedHolders(self: PeerName, of: readonly (readonly PeerName[])[]): Holders {
  const held = new Map<number, Held>() // as many as the parts of this peer
  for (const [stage, peers] of of.entries()) {
    const place = stage === 0 ? 'ends' : 0
    if (peers.includes(self)) held.set(stage, { stage, place, step: 0, applied: 0, rate: 1, epoch: 0 })
  }
  const nothing = async (): Promise<void> => {}
  return {
    start: nothing,
    stop: nothing,
    ready: (part) => of[part] ?? [],
    dataPeers: () => [...(of[0] ?? [])].sort(),
    held: (part) => held.get(part),
    holds: () => [...held.values()],
    update(part, { step, norm }) {
      const before = held.get(part)
      if (before !== undefined) held.set(part, { ...before, step, norm, applied: before.applied + 1 })
    },
    measured() {},
    // A busy machine is late now and then: the step is tried again, and its time is one of many.
    suspect() {},
    bell: new Bell(),
    speed: () => undefined,
    waiting: () => undefined,
    origin: () => 'initial',
    async fetch() {
      throw new StarlingError('no-whole-model', 'there is no model here')
    },
    finish() {},
    finished: () => false,
    progress: () => ({}),
  }
}
