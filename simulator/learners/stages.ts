/** A peer of a pipeline with a real model: the same stages as in the daemon's trainer thread. */
import { ModelError, StageTrainer, type StageTrainerOptions } from '../../models/index.ts'
import { StarlingError } from '../../protocols/index.ts'
import { type StagePeer, type StagePeerRun, stagePeer } from './stage-peer.ts'

/** Its vectors must hold what `stageVectors` names and what the strategy needs. */
export type StagePeerOptions = StageTrainerOptions & StagePeerRun

/** Makes one over its vectors. Its end gives the engine's tensors back. */
export function createStagePeer(options: StagePeerOptions): StagePeer {
  const trainer = new StageTrainer(options)
  const peer = stagePeer(withStarlingErrors(trainer), options)
  return {
    ...peer,
    close() {
      peer.close()
      trainer.dispose()
    },
  }
}

/** The same object; its methods throw as those of the daemon's learner do. */
function withStarlingErrors<T extends object>(target: T): T {
  return new Proxy(target, {
    get(object, key) {
      const value: unknown = Reflect.get(object, key, object)
      if (typeof value !== 'function') return value
      return (...args: unknown[]): unknown => {
        try {
          return value.apply(object, args)
        } catch (error) {
          throw error instanceof ModelError ? new StarlingError(error.code, error.message, error.data) : error
        }
      }
    },
  })
}
