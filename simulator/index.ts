/** Many peers in one process: a virtual clock and a seeded network that runs the same `protocols/` code as the daemon. */
export * from './clock.ts'
export * from './failures.ts'
export { GOSSIP_DEFAULTS, type GossipCounters, type GossipModel, type GossipParameters } from './gossip/index.ts'
export * from './learner.ts'
export * from './mortal.ts'
export * from './network.ts'
export * from './scenario/index.ts'
export type { LatencyModel, MemoryNetwork, MemoryNetworkOptions, MemoryPeer, Penalty } from './types.ts'
