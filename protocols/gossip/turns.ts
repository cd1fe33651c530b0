/**
 * Turns: the clock by which peers publish the same fragment at about the same time, so that whoever hears several of them can compare. Nobody waits: a
 * peer that is ahead trains on without publishing, one that is behind skips turns.
 */
import type { Member, PeerName } from '../ports.ts'

/** Turns that a peer may be ahead of the middle one before it sits out. */
const LEAD = 1

/** A peer that is this far ahead of everybody has a wrong clock (a liar's replica, a swarm that began anew) and puts it back. */
const ASTRAY = 16

/** How many of `peers`, this one included, are taken for hostile: a share of them, and, unless that is 0, at least one where three honest ones can outvote it. */
export function faultyOf(peers: number, share: number): number {
  // A third of six is two, however a third is rounded.
  return peers < 4 || share === 0 ? 0 : Math.max(1, Math.floor(share * peers + 1e-9))
}

/**
 * Where the swarm is: the (upper) median of the others' turns, which neither a minority of liars nor a few quick or slow machines move, and the
 * newest of them. `heard` is newer than the heartbeats. Undefined where nobody else trains.
 */
export function referenceTurn(
  members: readonly Member[],
  heard: ReadonlyMap<PeerName, number>,
): { middle: number; newest: number } | undefined {
  const turns = members
    .filter(({ status }) => status.phase === 'training')
    .map(({ peer, status }) => Math.max(status.round, heard.get(peer) ?? 0))
    .sort((a, b) => a - b)
  const middle = turns[turns.length >> 1]
  return middle === undefined ? undefined : { middle, newest: turns.at(-1) as number }
}

/** The turn that a peer in turn `own` takes now; undefined when it is ahead and sits out. */
export function nextTurn(own: number, others: { middle: number; newest: number } | undefined): number | undefined {
  if (others === undefined) {
    return own + 1
  }
  const next = Math.max(own + 1, others.middle)
  if (next <= others.middle + LEAD) {
    return next
  }
  return own > others.newest + ASTRAY ? others.middle + LEAD : undefined
}
