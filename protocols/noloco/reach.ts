/** How far away a partner's message may be and still count whole: one liar must not pull harder than the honest do. */
import type { PeerName } from '../ports.ts'

/** A message farther away than this many times the middle one of the distances lately met pulls less. docs/noloco.md has the measurement. */
const REACH = 1.5

/** Partners whose latest distance is remembered; the one met longest ago is forgotten. As many as tell the middle one well, and not so many that they are old. */
const MAX_PARTNERS = 15

/** The latest distance of each partner's message, root mean square over the values. One entry a peer, so a liar has one say however often it is met. */
export class Reach {
  /** Oldest first; at most {@link MAX_PARTNERS}. */
  readonly #latest = new Map<PeerName, number>()

  /** Notes how far away a partner's message was, whatever became of it. */
  note(partner: PeerName, distance: number): void {
    this.#latest.delete(partner)
    this.#latest.set(partner, distance)
    if (this.#latest.size > MAX_PARTNERS) {
      this.#latest.delete(this.#latest.keys().next().value as PeerName)
    }
  }

  /**
   * {@link REACH} times the (lower) median of the latest distances and of twice this peer's own `progress` since its last outer step: the most that two
   * peers that began there and went as far are apart, so the first partner of a run can be judged as well. A minority of liars cannot move a
   * median beyond the distances of the honest.
   */
  of(progress: number): number {
    const known = [2 * progress, ...this.#latest.values()].sort((a, b) => a - b)
    return REACH * known[(known.length - 1) >> 1]!
  }
}

/**
 * The share of the way to the partner's message that counts: 1 within reach, (reach / distance)² beyond. Both sides know both reaches and
 * take the smaller, and their distance is the same number, so they take the same share and the mean of the replicas stays what it is.
 *
 * ClippedGossip (arXiv 2202.01545) has reach / distance, with which the pull of whoever is far away is bounded; with the square it falls with the
 * distance. What is far away by honest drift comes nearer all the same, by about reach² / distance² an exchange, and counts whole in the end.
 */
export function shareOf(distance: number, reach: number): number {
  return distance <= reach ? 1 : (reach / distance) ** 2
}
