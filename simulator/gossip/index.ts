/** Gossip in the memory network: an ideal broadcast, or the mesh of gossipsub routers that the daemon's messages really travel through. */
import { createBroadcast } from './broadcast.ts'
import { createMesh } from './mesh.ts'
import { GOSSIP_DEFAULTS, type GossipParameters } from './parameters.ts'
import type { Gossip, GossipParts } from './types.ts'

export { GOSSIP_DEFAULTS, type GossipParameters } from './parameters.ts'
export type { RouterCounters as GossipCounters } from './router.ts'
export type { Gossip } from './types.ts'

/** 'broadcast' for the ideal, 'mesh' or some of its parameters for the real thing. */
export type GossipModel = 'broadcast' | 'mesh' | Partial<GossipParameters>

export function createGossip(model: GossipModel, parts: GossipParts): Gossip {
  if (model === 'broadcast') {
    return createBroadcast(parts)
  }
  return createMesh(parts, { ...GOSSIP_DEFAULTS, ...(model === 'mesh' ? {} : model) })
}
