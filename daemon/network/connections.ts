/** Which of the connections with a peer to use: there may be several, and not all of them lead anywhere for long. */
import type { Connection, Libp2p } from '@libp2p/interface'
import type { PeerName } from '../../protocols/index.ts'
import { isRelayed } from './addresses.ts'

/** A connection younger than this may be one that a peer opened only to see whether it can (dial-backs, AutoNAT), milliseconds. */
const SETTLED = 2_000

/** Open connections with a peer, the oldest first. */
export function connectionsWith(libp2p: Libp2p, peer: PeerName): Connection[] {
  return libp2p.getConnections().filter((one) => one.status === 'open' && one.remotePeer.toString() === peer)
}

/** An open connection with a peer that needs no relay. */
export function directWith(libp2p: Libp2p, peer: PeerName): Connection | undefined {
  return connectionsWith(libp2p, peer).find((one) => !isRelayed(one.remoteAddr))
}

/**
 * The connection to ask over: a direct one rather than a relayed one, and of several the newest that has stood for a while. When a peer came back before its
 * old connection was known to be dead, that one leads nowhere.
 */
export function bestOf(connections: readonly Connection[]): Connection | undefined {
  const direct = connections.filter((one) => !isRelayed(one.remoteAddr))
  const chosen = direct.length > 0 ? direct : connections
  const now = Date.now()
  return chosen.findLast((one) => now - one.timeline.open >= SETTLED) ?? chosen.at(-1)
}
