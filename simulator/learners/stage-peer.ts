/** A peer that holds stages, in one process and under the virtual clock, whatever computes them. */
import type { Kernels, SharedVectors } from '../../kernels/index.ts'
import {
  type Clock,
  type ComputeContext,
  type Learner,
  type StageLearner,
  StarlingError,
} from '../../protocols/index.ts'

/** What computes: the operations of the port, done at once. */
export type StageTrainerLike = {
  [K in keyof StageLearner]: StageLearner[K] extends (...args: infer Arguments) => Promise<infer Result>
    ? (...args: Arguments) => Result
    : StageLearner[K]
}

/** How it is run. */
export interface StagePeerRun {
  clock: Clock
  vectors: SharedVectors
  kernels: Kernels
  /** Duration of a call to the stages, virtual ms; drawn anew for each where it is a function. Compute tasks take no time. */
  milliseconds: number | (() => number)
}

/** The learner of a peer that holds stages, and the stages. */
export interface StagePeer {
  readonly learner: Learner
  readonly stages: StageLearner
  /** Ends it, as the death of its process does: calls are refused with 'aborted'. */
  close(): void
}

/** Calls are done one at a time in the order in which they were made, compute tasks among them. */
export function stagePeer(
  trainer: StageTrainerLike,
  { clock, vectors, kernels, milliseconds }: StagePeerRun,
): StagePeer {
  const context: ComputeContext = {
    kernels,
    float32: (name) => vectors.float32(name),
    int32: (name) => vectors.int32(name),
    bytes: (name) => vectors.bytes(name),
  }
  let closed = false
  let step = 0
  /** The end of the last call; never rejects. */
  let last: Promise<unknown> = Promise.resolve()

  const enqueue = <Result>(work: () => Result, duration: number, signal?: AbortSignal): Promise<Result> => {
    const call = last.then(async () => {
      if (duration > 0) {
        await clock.sleep(duration)
      }
      if (closed || signal?.aborted === true) {
        throw new StarlingError('aborted', 'the call was aborted')
      }
      return work()
    })
    last = call.catch(() => undefined)
    return call
  }
  const call = <Result>(work: () => Result, signal?: AbortSignal): Promise<Result> =>
    enqueue(work, typeof milliseconds === 'number' ? milliseconds : milliseconds(), signal)
  const refuse = (what: string) => async (): Promise<never> => {
    throw new StarlingError('no-whole-model', `${what} needs the whole model; this peer holds stages of it`, { what })
  }

  return {
    learner: {
      size: vectors.float32('theta').length,
      float32: context.float32,
      int32: context.int32,
      bytes: context.bytes,
      step: () => step,
      setStep: (value) =>
        enqueue(() => {
          step = value
        }, 0),
      initial: refuse('initial'),
      train: refuse('train'),
      evaluate: refuse('evaluate'),
      lossAt: refuse('lossAt'),
      gradient: refuse('gradient'),
      compute: (task, args, signal) => enqueue(() => task.run(context, args), 0, signal),
    },
    stages: {
      cut: trainer.cut,
      moments: trainer.moments,
      validationParts: () => call(() => trainer.validationParts()),
      hold: (place, stage, fresh) => call(() => trainer.hold(place, stage, fresh)),
      initial: (part, place, signal) => call(() => trainer.initial(part, place), signal),
      embed: (source, slot) => call(() => trainer.embed(source, slot)),
      forward: (place, rows, slot) => call(() => trainer.forward(place, rows, slot)),
      loss: (source, accumulator) => call(() => trainer.loss(source, accumulator)),
      backward: (slot, accumulator) => call(() => trainer.backward(slot, accumulator)),
      drop: (slot) => call(() => trainer.drop(slot)),
      clear: (place, accumulator) => call(() => trainer.clear(place, accumulator)),
      step: (place, accumulator, schedule) => call(() => trainer.step(place, accumulator, schedule)),
      logits: (row) => call(() => trainer.logits(row)),
    },
    close() {
      closed = true
    },
  }
}
