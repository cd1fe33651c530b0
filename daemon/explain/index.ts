/** Why a node waits, for `starling explain`, the page and whoever reads GET /api/explain. */
export { explain } from './explain.ts'
export { Situation, STRANGERS } from './situation.ts'
export { TransferWatch } from './transfers.ts'
export type { Facts, NetworkFacts, Transfer } from './types.ts'
