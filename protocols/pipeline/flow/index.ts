/** How microbatches move: the data peer's end, the holders' end, and the steps made of them. */
import type { StageLearner } from '../../ports.ts'
import type { StrategyModules } from '../../strategy.ts'
import {
  backwardQuestion,
  commitQuestion,
  failedQuestion,
  forwardQuestion,
  METHODS,
  whereAnswer,
  whereQuestion,
} from '../messages.ts'
import type { PipelineOptions } from '../options.ts'
import type { Holders } from '../types.ts'
import { Courier, type Moved } from './courier.ts'
import { DataSide } from './data-side.ts'
import { type FlowParts, read } from './parts.ts'
import { StageSide } from './stage-side.ts'
import { Tensors } from './tensors.ts'
import { WorkQueue } from './work-queue.ts'

export type { FlowParts } from './parts.ts'
export { type StepDone, Steps, type StepsEvents } from './steps.ts'
export { PathFailure, type TripResult } from './trip.ts'

/** Both ends of the flow at one peer. */
export interface Flow {
  readonly parts: FlowParts
  readonly data: DataSide
  readonly moved: Readonly<Moved>
  /** Answers the questions of a pipeline, and watches over what this peer sends out, until stopped. */
  start(): () => void
  /** No step will be taken any more. */
  finish(): void
  /** Resolves when nothing is being done with the parameters: a step that had begun is over. */
  settled(): Promise<void>
}

export function createFlow(
  modules: StrategyModules & { stages: StageLearner },
  options: PipelineOptions,
  holders: Holders,
  onBroken: (error: unknown) => void,
): Flow {
  const { swarm, learner, stages } = modules
  const courier = new Courier(swarm)
  const tensors = new Tensors(learner, stages.cut, options.codec)
  const parts: FlowParts = { modules, stages, options, holders, courier, queue: new WorkQueue(), tensors, onBroken }
  const data = new DataSide(parts)
  const stage = new StageSide(parts)
  return {
    parts,
    data,
    moved: courier.moved,
    finish: () => stage.finish(),
    settled: () => parts.queue.run('now', async () => {}),
    start() {
      const stopped = new AbortController()
      const stops = [
        courier.serve(),
        courier.answer(METHODS.forward, (from, bytes) => {
          const question = read(forwardQuestion, from, bytes, parts)
          const home = question.hop === question.stages.length
          return home ? data.forward(from, question) : stage.forward(from, question)
        }),
        courier.answer(METHODS.backward, (from, bytes) => {
          const question = read(backwardQuestion, from, bytes, parts)
          return question.hop < 0 ? data.backward(from, question) : stage.backward(from, question)
        }),
        courier.answer(METHODS.failed, (from, bytes) => data.failed(from, read(failedQuestion, from, bytes, parts))),
        courier.answer(METHODS.where, (from, bytes) => {
          const { hop, ...id } = read(whereQuestion, from, bytes, parts)
          return whereAnswer.encode({ state: stage.where(from, id, hop) })
        }),
        courier.answer(METHODS.commit, (from, bytes) => stage.commit(from, read(commitQuestion, from, bytes, parts))),
      ]
      data.start(stopped.signal)
      return () => {
        stopped.abort()
        for (const stop of stops.reverse()) {
          stop()
        }
        stage.stop()
      }
    },
  }
}
