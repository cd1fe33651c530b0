/** A peer of a pipeline with a real model: the same stages as in the daemon's trainer thread, in one process and under the virtual clock. */
import type { SharedVectors } from '../../kernels/index.ts'
import { ModelError, StageTrainer, type StageTrainerOptions } from '../../models/index.ts'
import {
  type Clock,
  type ComputeContext,
  type Learner,
  type StageLearner,
  StarlingError,
} from '../../protocols/index.ts'

/** Options of {@link createStagePeer}. */
export interface StagePeerOptions extends StageTrainerOptions {
  clock: Clock
  /** Must hold what `stageVectors` names and what the strategy needs. */
  vectors: SharedVectors
  /** Duration of a call to the stages, virtual ms. Compute tasks take no time. */
  milliseconds: number
}

/** The learner of a peer that holds stages, and the stages. */
export interface StagePeer {
  readonly learner: Learner
  readonly stages: StageLearner
  /** Ends it, as the death of its process does: slots and tensors are given back, calls are refused with 'aborted'. */
  close(): void
}

/** See the head of this file. Calls are done one at a time in the order in which they were made, compute tasks among them. */
export function createStagePeer(options: StagePeerOptions): StagePeer {
  const { clock, vectors, kernels, milliseconds } = options
  const trainer = new StageTrainer(options)
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
      if (duration > 0) await clock.sleep(duration)
      if (closed || signal?.aborted === true) throw new StarlingError('aborted', 'the call was aborted')
      try {
        return work()
      } catch (error) {
        throw error instanceof ModelError ? new StarlingError(error.code, error.message, error.data) : error
      }
    })
    last = call.catch(() => undefined)
    return call
  }
  const call = <Result>(work: () => Result, signal?: AbortSignal) => enqueue(work, milliseconds, signal)
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
      if (!closed) trainer.dispose()
      closed = true
    },
  }
}
