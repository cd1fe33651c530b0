/** What the parts of `holders/` share. */
import type { StageOrigin } from '../../events.ts'
import type { PeerName, StageCut, StageLearner } from '../../ports.ts'
import type { StrategyModules } from '../../strategy.ts'
import type { PipelineOptions } from '../options.ts'

/** Modules of a pipeline: those of a strategy, with stages for sure. */
export type HolderModules = StrategyModules & { stages: StageLearner }

/** What {@link import('./index.ts').createHolders} is made from. */
export interface HoldersConfig {
  modules: HolderModules
  options: PipelineOptions
  cut: StageCut
  /** What an earlier process of this peer left in its checkpoint, see {@link import('../types.ts').Holders.progress}. */
  resumed?: Record<string, unknown> | undefined
  /** A fault of ours ended the holders; {@link import('../types.ts').Holders.stop} rejects with it too. */
  onBroken?: ((error: unknown) => void) | undefined
}

/** Where parameters and their optimizer stand. */
export interface Course {
  step: number
  applied: number
  rate: number
  norm?: number | undefined
}

/** How a part came to this peer. */
export interface Taken extends Course {
  how: StageOrigin
  from: PeerName[]
  degraded: boolean
  bytes: number
}
