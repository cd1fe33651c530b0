/** How peers of a run find each other beyond the addresses they were given. Plain data. */

/** Kademlia protocol of the public Amino DHT, on which IPFS runs. */
export const AMINO_PROTOCOL = '/ipfs/kad/1.0.0'

/** A Kademlia DHT in which peers of a run leave and look up a record under the run's CID. */
export interface DhtOptions {
  /** Protocol id: {@link AMINO_PROTOCOL} is the public one, any other name a DHT of its own. */
  protocol: string
  /** A client asks; a server also stores records and answers. Only bootstrap nodes should be servers. */
  mode: 'client' | 'server'
  /** Multiaddrs of nodes of this DHT, dialled whenever none of its nodes is known. */
  bootstrap: readonly string[]
  /** Take and leave addresses of this machine and of private networks as well. Never on the public DHT. Default false. */
  private?: boolean
}

/** What came of looking for peers in the DHT. */
export interface DhtCounts {
  /** Look-ups and announcements begun. */
  queries: number
  /** Those that ended without an answer from anybody within {@link QUERY_BUDGET}. */
  failures: number
  /** Peers of the run found, each once as long as it is remembered. */
  found: number
  /** Announcements that at least one node of the DHT took. */
  provided: number
  /** Nodes of the DHT known now. */
  table: number
}

/** Longest look-up or announcement, milliseconds: on the public DHT they take seconds, through home routers up to a minute. */
export const QUERY_BUDGET = 60_000
