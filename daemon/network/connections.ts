/** Which of the connections with a peer to use: there may be several, and not all of them lead anywhere for long. */
import type { Connection, Libp2p } from '@libp2p/interface'
import type { Clock, PeerName } from '../../protocols/index.ts'
import { isRelayed } from './addresses.ts'

/** A connection younger than this may be one that a peer opened only to see whether it can (dial-backs, AutoNAT), milliseconds. */
const SETTLED = 2_000
/** Longest wait for a peer to say what protocols it speaks, milliseconds: identification runs beside the hello. */
const IDENTIFY_TIMEOUT = 3_000

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

/** What a connected peer speaks, once libp2p has identified it: before that only what was spoken with it is known. */
export async function protocolsOf(
  libp2p: Libp2p,
  peer: PeerName,
  clock: Clock,
  signal: AbortSignal,
): Promise<string[]> {
  const connection = connectionsWith(libp2p, peer)[0]
  const pause = IDENTIFY_TIMEOUT / 30
  for (let waited = 0; connection !== undefined && waited < IDENTIFY_TIMEOUT; waited += pause) {
    const known = await libp2p.peerStore.get(connection.remotePeer).catch(() => undefined)
    if (known?.metadata.has('AgentVersion') === true) return known.protocols
    if (signal.aborted) break
    await clock.sleep(pause)
  }
  return []
}
