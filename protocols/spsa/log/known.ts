import { equalBytes } from '../../hash.ts'
import type { PeerName } from '../../ports.ts'

/** Peers remembered. The one that was heard of longest ago goes. */
export const MAX_PEERS = 1024

/** What is remembered of a peer. */
export interface Known {
  /** What it last called its set. */
  digest: Uint8Array | undefined
  /** When an exchange with it last began. */
  exchangedAt: number
  /** Unserved claims since it last served one. */
  strikes: number
}

/** What anti-entropy remembers of the peers that it met. */
export class KnownPeers {
  /** At most {@link MAX_PEERS}, the latest last. */
  readonly #peers = new Map<PeerName, Known>()

  /** What is known of a peer, to be changed in place. */
  about(peer: PeerName): Known {
    const known = this.#peers.get(peer) ?? { digest: undefined, exchangedAt: Number.NEGATIVE_INFINITY, strikes: 0 }
    this.#peers.delete(peer)
    this.#peers.set(peer, known)
    const [oldest] = this.#peers.keys()
    if (this.#peers.size > MAX_PEERS && oldest !== undefined) {
      this.#peers.delete(oldest)
    }
    return known
  }

  /** Peers that last named the set with that digest, sorted. */
  agreeing(digest: Uint8Array): PeerName[] {
    const agree = [...this.#peers].filter(([, known]) => known.digest !== undefined && equalBytes(known.digest, digest))
    return agree.map(([peer]) => peer).sort()
  }
}
