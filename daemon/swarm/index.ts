/** A swarm on this machine: one process a peer, kept alive by a launcher that shows them as one. */
export { chooseFolder, type SwarmFolder } from './folder.ts'
export { type ChildMessage, type ParentMessage, STATE_INTERVAL } from './messages.ts'
export type { PeerState, SwarmPeer } from './peer.ts'
export { type LocalSwarm, type SwarmOptions, startSwarm } from './swarm.ts'
