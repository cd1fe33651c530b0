/** Who holds which stage of a pipeline: dealt at the start and after every loss, without a leader. See docs/pipeline.md. */
import type { Holders } from '../types.ts'
import { StageHolders } from './holders.ts'
import type { HoldersConfig } from './types.ts'

export { type Assignment, assign, type Leave, type Move, type PeerRoles, type Take, type Wanted } from './assignment.ts'
export { STAGES_TOPIC } from './messages.ts'
export { holdersState, holdersTasks, holdersVectors } from './tasks.ts'
export type { HolderModules, HoldersConfig } from './types.ts'

/** Who holds what, for one peer of a pipeline. */
export function createHolders(config: HoldersConfig): Holders {
  return new StageHolders(config)
}
