/** Refuses connections of peers that are banned or not admitted, as soon as the handshake has proven who they are. */
import type { ConnectionGater, PeerId } from '@libp2p/interface'
import type { PeerName } from '../../protocols/index.ts'
import type { Ledger } from './ledger.ts'
import type { Admission } from './types.ts'

export function createGater(admission: Admission, ledger: Ledger): ConnectionGater {
  const allowed = admission.kind === 'allow-list' ? new Set<PeerName>(admission.peers) : undefined
  const deny = (peerId: PeerId, tell: boolean): boolean => {
    const peer = peerId.toString()
    if (ledger.isBanned(peer)) {
      if (tell) ledger.reject(peer, 'banned', 'it is refused for a while')
      return true
    }
    if (allowed !== undefined && !allowed.has(peer)) {
      if (tell) ledger.reject(peer, 'not-admitted', 'it is not on the allow-list of this run')
      return true
    }
    return false
  }
  return {
    denyDialPeer: (peer) => deny(peer, false),
    denyInboundEncryptedConnection: (peer) => deny(peer, true),
    denyOutboundEncryptedConnection: (peer) => deny(peer, true),
    // Private addresses are filtered where they are learned; those that the user named are dialled.
    denyDialMultiaddr: () => false,
  }
}
