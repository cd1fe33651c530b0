/**
 * A model in stages: every peer holds a run of layers or two, and microbatches go from peer to peer and back. Peers with data hold the ends, embedding and
 * output, and drive the steps. Stages are lost and rebuilt while the others train on. See docs/pipeline.md.
 */
import type { VectorSpec } from '../../kernels/index.ts'
import { StarlingError } from '../errors.ts'
import type { StageCut } from '../ports.ts'
import type { Strategy, StrategyDefinition, StrategyModules } from '../strategy.ts'
import type { PipelineOptions } from './options.ts'
import { stageCount } from './options.ts'

class Pipeline implements Strategy {
  readonly name = 'pipeline'
  readonly state: readonly string[] = []

  progress(): Record<string, unknown> {
    return {}
  }

  async run(_signal: AbortSignal): Promise<void> {
    throw new StarlingError('not-ready', 'the flow of a pipeline is not there yet', {})
  }
}

/** Vectors of the strategy; `cut` is there because the definition asks for stages. */
function pipelineVectors(_size: number, _options: PipelineOptions, cut?: StageCut): VectorSpec {
  if (cut === undefined) {
    throw new StarlingError('no-stages', 'a pipeline needs a model that is cut into stages', {})
  }
  return {}
}

/** The pipeline, for the daemon's table of strategies. Its options are those of `pipelineOptionsSchema`. */
export const pipeline: StrategyDefinition<PipelineOptions> = {
  name: 'pipeline',
  vectors: pipelineVectors,
  stages: (options) => ({
    stages: typeof options.stages === 'number' ? stageCount(options) : options.stages,
    places: options.places,
    microbatches: options.microbatches,
    accumulators: options.dataPeers,
  }),
  tasks: [],
  trains: () => true,
  create: (_options: PipelineOptions, _modules: StrategyModules) => new Pipeline(),
}
