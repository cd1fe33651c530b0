/** Who follows whom: a sparse graph over the members that every peer computes for itself. */
import { sha256Hex } from '../../hash.ts'
import type { PeerName } from '../../ports.ts'

/**
 * This peer's neighbours among `members`, at most `count` (even), sorted. All members when there are no more. Otherwise the graph is a union of count / 2 rings, in each of
 * which the members stand in an order of their own, drawn from the run's name (Law & Siu 2003, "Distributed construction of random expander networks"): symmetric and
 * connected where all see the same members, with short ways, and whoever comes or leaves changes the neighbours of `count` others only, so that most replicas stay.
 */
export function neighboursOf(run: string, self: PeerName, members: readonly PeerName[], count: number): PeerName[] {
  const peers = [...new Set([...members, self])]
  if (peers.length <= count + 1) {
    return peers.filter((peer) => peer !== self).sort()
  }
  const found = new Set<PeerName>()
  for (let ring = 0; ring < count / 2; ring++) {
    const places = new Map(peers.map((peer) => [peer, sha256Hex(JSON.stringify(['starling-ring', run, ring, peer]))]))
    const order = [...peers].sort((a, b) => (places.get(a)! < places.get(b)! ? -1 : 1))
    const own = order.indexOf(self)
    for (const step of [-1, 1]) {
      found.add(order.at((own + step) % order.length)!)
    }
  }
  return [...found].sort()
}
