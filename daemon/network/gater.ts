/** Refuses connections of peers that are banned or not admitted, as soon as the handshake has proven who they are. */
import type { ConnectionGater, PeerId } from '@libp2p/interface'
import type { PeerName } from '../../protocols/index.ts'
import type { Ledger } from './ledger.ts'
import type { Admission } from './types.ts'

/**
 * `serves` tells the connected bootstrap nodes: they are on no allow-list. Whom this node dials may be one, so others are refused there only when their hello
 * shows that they are none.
 */
export function createGater(
  admission: Admission,
  ledger: Ledger,
  serves: (peer: PeerName) => boolean = () => false,
): ConnectionGater {
  const allowed = admission.kind === 'allow-list' ? new Set<PeerName>(admission.peers) : undefined
  const banned = (peerId: PeerId, tell: boolean): boolean => {
    const peer = peerId.toString()
    if (!ledger.isBanned(peer)) return false
    if (tell) ledger.reject(peer, 'banned', 'it is refused for a while')
    return true
  }
  const notAdmitted = (peerId: PeerId): boolean => {
    const peer = peerId.toString()
    if (allowed === undefined || allowed.has(peer) || serves(peer)) return false
    ledger.reject(peer, 'not-admitted', 'it is not on the allow-list of this run')
    return true
  }
  return {
    denyDialPeer: (peer) => banned(peer, false),
    denyInboundEncryptedConnection: (peer) => banned(peer, true) || notAdmitted(peer),
    denyOutboundEncryptedConnection: (peer) => banned(peer, true),
    // Private addresses are filtered where they are learned; those that the user named are dialled.
    denyDialMultiaddr: () => false,
  }
}
