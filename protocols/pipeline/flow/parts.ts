/** What both ends of the flow work with. */
import { StarlingError } from '../../errors.ts'
import type { PeerName, StageCut, StageLearner } from '../../ports.ts'
import type { StrategyModules } from '../../strategy.ts'
import type { MessageType } from '../../wire/index.ts'
import type { PipelineOptions } from '../options.ts'
import type { Path } from '../paths/types.ts'
import type { Holders } from '../types.ts'
import type { Courier } from './courier.ts'
import type { Tensors } from './tensors.ts'
import type { WorkQueue } from './work-queue.ts'

export interface FlowParts {
  modules: StrategyModules
  stages: StageLearner
  options: PipelineOptions
  holders: Holders
  courier: Courier
  queue: WorkQueue
  tensors: Tensors
  /** Something broke that is nobody's fault but our own: the strategy ends with it. */
  onBroken(error: unknown): void
}

/** The empty answer. */
export const NOTHING = new Uint8Array(0)

/** Codes of a learner's errors that end one microbatch and nothing else. */
const PASSING: ReadonlySet<string> = new Set([
  'bad-tensor',
  'not-finite',
  'slot-unknown',
  'slot-taken',
  'slots-full',
  'place-empty',
  'bad-source',
  'bad-rows',
  'trainer-crashed',
])

/** Code of an error of a question, of this folder, or of a learner that ends one microbatch; anything else is thrown again. */
export function passingCode(error: unknown): string {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined
  if (typeof code === 'string' && (error instanceof StarlingError || PASSING.has(code))) {
    return code.slice(0, 64)
  }
  throw error
}

/** A question; one that no honest peer of this version asks is held against its author. */
export function read<T>(type: MessageType<T>, from: PeerName, bytes: Uint8Array, { modules }: FlowParts): T {
  try {
    return type.decode(bytes)
  } catch (error) {
    if (error instanceof StarlingError && error.data.misfit !== true) {
      modules.swarm.penalize(from, 'malformed')
    }
    throw error
  }
}

/** Refuses what is proven to be the asker's fault. */
export function refuse({ modules }: FlowParts, from: PeerName, what: string, reason: string): never {
  modules.swarm.penalize(from, reason)
  modules.report({ kind: 'rejected', peer: from, what, reason })
  throw new StarlingError(reason, `refused: ${reason}`, { what })
}

/** What is wrong with a path, whoever made it; undefined where nothing is. */
export function pathFault(path: Path, cut: StageCut): string | undefined {
  const stages = path.map(({ stage }) => stage)
  if (stages.some((stage) => stage < 1 || stage > cut.stages)) {
    return 'foreign-stage'
  }
  if (new Set(stages).size !== stages.length) {
    return 'repeated-stage'
  }
  // Stages that are not alike fit only one way.
  return cut.alike || (stages.length === cut.stages && stages.every((stage, i) => stage === i + 1))
    ? undefined
    : 'bad-order'
}

/** Part whose output comes into a hop: the stage before, or the embedding. */
export const partBefore = (path: Path, hop: number): number => (hop === 0 ? 0 : path[hop - 1]!.stage)
