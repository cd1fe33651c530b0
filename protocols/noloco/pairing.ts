/** Who meets whom: a random matching that every peer computes for itself. */
import { sha256Hex } from '../hash.ts'
import type { PeerName } from '../ports.ts'

/**
 * The view in the order of the round: peers sorted by SHA-256 of (run, round, peer), a uniformly random permutation that is the same
 * wherever the view is the same. Keys depend on one peer each, so that views that differ in one member still agree about the peers that
 * come before it in the order.
 */
export function roundOrder(run: string, round: number, view: readonly PeerName[]): PeerName[] {
  return [...new Set(view)]
    .map((peer) => ({ peer, key: sha256Hex(JSON.stringify(['noloco-pairing', run, round, peer])) }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.peer < b.peer ? -1 : 1))
    .map(({ peer }) => peer)
}

/** The pairs of a round: neighbours in its order, first with second, third with fourth. The last of an odd number sits out. */
export function pairsOf(run: string, round: number, view: readonly PeerName[]): [PeerName, PeerName][] {
  const order = roundOrder(run, round, view)
  const pairs: [PeerName, PeerName][] = []
  for (let i = 0; i + 1 < order.length; i += 2) {
    pairs.push([order[i]!, order[i + 1]!])
  }
  return pairs
}

/** The partner of `self` in a round among the peers of its view (itself included); undefined when it sits out or is not among them. */
export function partnerOf(run: string, round: number, view: readonly PeerName[], self: PeerName): PeerName | undefined {
  const order = roundOrder(run, round, view)
  const at = order.indexOf(self)
  return at < 0 ? undefined : order[at % 2 === 0 ? at + 1 : at - 1]
}

/** Hash of a view, to tell in a log line whether two peers saw the same members. 16 hexadecimal digits. */
export function viewHash(view: readonly PeerName[]): string {
  return sha256Hex(JSON.stringify([...view].sort())).slice(0, 16)
}
