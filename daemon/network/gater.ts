/**
 * Refuses connections: by address before the handshake is paid for, by identity as soon as the handshake has proven it, and dials to private addresses that only strangers name.
 */
import type { ConnectionGater, MultiaddrConnection, PeerId } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { PeerName } from '../../protocols/index.ts'
import type { Ledger } from './ledger.ts'
import type { Places, Refusal } from './places.ts'
import type { Admission, RejectReason } from './types.ts'

export interface GaterParts {
  self: PeerName
  admission: Admission
  ledger: Ledger
  places: Places
  /** Serves the run without being a peer of it (relay, bootstrap node): let in whatever the allow-list says. */
  isService(peer: PeerName): boolean
  /** Whether an address may be dialled whoever named it. */
  mayDial(address: Multiaddr): boolean
  /** Something was refused of which nobody knows whose it was. */
  refused(reason: RejectReason, detail: string): void
}

export function createGater(parts: GaterParts): ConnectionGater {
  const { self, admission, ledger, places, isService, mayDial, refused } = parts
  const allowed = admission.kind === 'allow-list' ? new Set<PeerName>(admission.peers) : undefined
  /** Whom we dial and who is not admitted is found out at its hello: it may be a service. */
  const judge = (peer: PeerName, inbound: boolean): Refusal | undefined => {
    if (ledger.isBanned(peer)) return { reason: 'banned', detail: 'it is refused for a while' }
    if (!inbound || allowed === undefined || allowed.has(peer) || isService(peer)) return undefined
    return { reason: 'not-admitted', detail: 'it is not on the allow-list of this run' }
  }
  const deny = (peerId: PeerId, inbound?: MultiaddrConnection): boolean => {
    const peer = peerId.toString()
    const refusal =
      judge(peer, inbound !== undefined) ?? (inbound === undefined ? undefined : places.prove(peer, inbound))
    if (refusal !== undefined) ledger.reject(peer, refusal.reason, refusal.detail)
    return refusal !== undefined
  }
  return {
    denyDialPeer: (peer) => ledger.isBanned(peer.toString()),
    denyDialMultiaddr: (address) => !mayDial(address),
    // What is kept of a peer's addresses; this node's own are told to others, who judge for themselves.
    filterMultiaddrForPeer: (peer, address) => peer.toString() === self || mayDial(address),
    denyInboundConnection: (connection) => {
      const refusal = places.arrive(connection)
      if (refusal !== undefined) refused(refusal.reason, refusal.detail)
      return refusal !== undefined
    },
    denyInboundEncryptedConnection: (peer, connection) => deny(peer, connection),
    denyOutboundEncryptedConnection: (peer) => deny(peer),
  }
}
