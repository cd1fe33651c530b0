/** Nearest-neighbour averaging for messages that come one by one. */
import type { PeerName } from '../ports.ts'
import { renormalized } from './nearest.ts'
import type { MixingRule } from './types.ts'

/** Peers remembered; the one not heard from for longest is forgotten first. */
const MAX_PEERS = 256

/**
 * The latest distance of every peer's messages to the own model at the time, for one fragment (fragments differ in size and in scale). One
 * entry a peer, however often it sends: a peer that floods moves its own entry only.
 */
export class RecentDistances {
  /** In order of arrival, oldest first; at most {@link MAX_PEERS}. */
  readonly #latest = new Map<PeerName, number>()

  /** Notes a distance, and tells whether it is among the farthest `share` (0 to 0.5, rounded down to whole peers) of the latest ones. */
  isFar(peer: PeerName, distance: number, share: number): boolean {
    this.#latest.delete(peer)
    this.#latest.set(peer, distance)
    if (this.#latest.size > MAX_PEERS) {
      this.#latest.delete(this.#latest.keys().next().value as PeerName)
    }
    let nearer = 0
    for (const [other, its] of this.#latest) {
      nearer += other !== peer && its <= distance ? 1 : 0
    }
    const faulty = Math.floor(share * this.#latest.size)
    return nearer >= this.#latest.size - faulty
  }

  /** Distances kept, e.g. for a checkpoint; give them to {@link RecentDistances.restore}. */
  entries(): [PeerName, number][] {
    return [...this.#latest]
  }

  restore(entries: readonly [PeerName, number][]): void {
    this.#latest.clear()
    for (const [peer, distance] of entries.slice(-MAX_PEERS)) {
      this.#latest.set(peer, distance)
    }
  }
}

/**
 * {@link nearest} over time: a message that is farther away than those of all but a share of the peers were when they last came is dropped.
 * Deviation from MoNNA, whose peers wait for n - f - 1 models of one round: here the others' distances are a little old, which is right as
 * long as disagreement changes slowly from message to message.
 */
export function nearestOfRecent(recent: RecentDistances, share: number): MixingRule {
  return (group) => {
    const far = group.peers.map((peer, i) => recent.isFar(peer, group.distances[i]!, share))
    return renormalized(group, (i) => !far[i])
  }
}
