/** Which of the connections with a peer to use: there may be several, and not all of them lead anywhere for long. */
import type { Connection, Libp2p, StreamMuxer } from '@libp2p/interface'
import { byteStream } from '@libp2p/utils'
import type { Clock, PeerName } from '../../protocols/index.ts'
import { isRelayed } from './addresses.ts'

/** A connection younger than this may be one that a peer opened only to see whether it can (dial-backs, AutoNAT), milliseconds. */
const SETTLED = 2_000
/** Longest wait for a peer to say what protocols it speaks, milliseconds: identification runs beside the hello. */
const IDENTIFY_TIMEOUT = 3_000
/** libp2p's ping, which every node answers with the same bytes. */
const PING = '/ipfs/ping/1.0.0'
const PING_BYTES = 32

/** Direct connections over which the other end has answered. */
const answered = new WeakSet<Connection>()

/** Open connections with a peer, the oldest first. */
export function connectionsWith(libp2p: Libp2p, peer: PeerName): Connection[] {
  return libp2p.getConnections().filter((one) => one.status === 'open' && one.remotePeer.toString() === peer)
}

/** Who is at the other end of a muxer; undefined until its connection is open. libp2p keeps the muxer of a connection to itself. */
export function peerOver(libp2p: Libp2p, muxer: StreamMuxer): PeerName | undefined {
  const over = libp2p.getConnections().find((one) => (one as { muxer?: unknown }).muxer === muxer)
  return over?.remotePeer.toString()
}

/** An open connection with a peer that needs no relay. */
export function directWith(libp2p: Libp2p, peer: PeerName): Connection | undefined {
  return connectionsWith(libp2p, peer).find((one) => !isRelayed(one.remoteAddr))
}

/**
 * Pings the other end over this very connection, which counts as answered from then on. Rejects with whatever is in the way, the signal's reason when nothing
 * came back in time.
 */
export async function confirm(connection: Connection, signal: AbortSignal): Promise<void> {
  const stream = await connection.newStream(PING, { signal })
  try {
    const bytes = byteStream(stream)
    const sent = crypto.getRandomValues(new Uint8Array(PING_BYTES))
    await bytes.write(sent, { signal })
    const back = await bytes.read({ bytes: PING_BYTES, signal })
    if (Buffer.compare(back.subarray(), sent) !== 0) throw new Error('other bytes than those of the ping came back')
    answered.add(connection)
    await stream.close({ signal })
  } catch (error) {
    stream.abort(error as Error)
    throw error
  }
}

/** Whether something was answered over this connection, as far as it was tried. */
export function hasAnswered(connection: Connection): boolean {
  return answered.has(connection)
}

/**
 * Of the connections with a peer those that bytes should take: direct ones rather than relayed ones, but beside a relayed one only those that have
 * answered: WebRTC between two routers may stand at one end alone.
 */
export function preferred(connections: readonly Connection[]): Connection[] {
  const relayed = connections.filter((one) => isRelayed(one.remoteAddr))
  const direct = connections.filter((one) => !isRelayed(one.remoteAddr) && (relayed.length === 0 || hasAnswered(one)))
  return direct.length > 0 ? direct : relayed
}

/**
 * The connection to ask over: of the preferred ones the newest that has stood for a while. When a peer came back before its old connection was known to be
 * dead, that one leads nowhere.
 */
export function bestOf(connections: readonly Connection[]): Connection | undefined {
  const chosen = preferred(connections)
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
