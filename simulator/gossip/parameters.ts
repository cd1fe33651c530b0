/** Parameters of the gossip mesh: those of gossipsub 1.1 and 1.2, with the values the daemon's router runs with. */

/** Options of the mesh; every one has a default in {@link GOSSIP_DEFAULTS}. */
export interface GossipParameters {
  /** Connections a peer dials up to, as the daemon's peer manager does; a network up to that size is fully connected. */
  connections: number
  /**
   * Peers that a peer dials in a heartbeat while it has fewer. Real ones hear of each other and shake hands within seconds, and what the
   * meshes look like depends on it; this value gives sixteen peers the degree that sixteen real ones have (scripts/bench/gossip-mesh.js).
   */
  dials: number
  /** Connections above which a peer lets go of some, and dials no more by itself. */
  maxConnections: number
  /** With enough connections a peer still dials another one about as often, ms. */
  explore: number
  /** Peers of a topic's mesh: as many as wanted, fewest, most, and how many of them this peer must have dialled. */
  degree: number
  degreeLow: number
  degreeHigh: number
  degreeOut: number
  /** Peers outside the mesh told of new messages in each heartbeat: at least so many, and at least that share of them. */
  degreeLazy: number
  gossipFactor: number
  /** Between two heartbeats, and from the start of a peer to its first one, ms. */
  heartbeat: number
  firstHeartbeat: number
  /** Heartbeats for which a message can be asked for, and during which it is told of. */
  historyLength: number
  historyGossip: number
  /** How long a message is known as a duplicate, ms. */
  seenFor: number
  /** How long a pruned peer is not grafted again, and one whose topic was left, ms. */
  pruneBackoff: number
  unsubscribeBackoff: number
  /** How often a peer is given a message it asks for. */
  retransmissions: number
  /** Send what this peer publishes to every connected subscriber instead of to the mesh. */
  floodPublish: boolean
  /** Messages of at least so many bytes are declined from the rest of the mesh as soon as the first copy has come. */
  declineFrom: number
  /** Characters of a topic's full name before its short name: network, version and run. */
  topicPrefix: number
}

/** Gossipsub's defaults (spec "gossipsub v1.1", section "Overlay parameters") but for what daemon/network sets otherwise. */
export const GOSSIP_DEFAULTS: GossipParameters = {
  connections: 12,
  dials: 4,
  maxConnections: 48,
  explore: 60_000,
  degree: 6,
  degreeLow: 4,
  degreeHigh: 12,
  degreeOut: 2,
  degreeLazy: 6,
  gossipFactor: 0.25,
  heartbeat: 1_000,
  firstHeartbeat: 100,
  historyLength: 5,
  historyGossip: 3,
  seenFor: 120_000,
  pruneBackoff: 60_000,
  unsubscribeBackoff: 10_000,
  retransmissions: 3,
  floodPublish: false,
  declineFrom: 16 * 1024,
  // '/starling/1/', the CID of a manifest in base32 (59 characters) and a slash.
  topicPrefix: 72,
}
