/**
 * Which connections a peer lets go of. Peers dial each other for one question and then now and then to get to know others, so connections come and
 * stay; this keeps them between bounds without breaking one in use.
 */
import type { PeerName } from '../ports.ts'

/** A connected peer. Moments are those of one clock, ms. */
export interface Connected {
  peer: PeerName
  openedAt: number
  /** When a question went over it the last time, in either direction; `openedAt` when none did. */
  usedAt: number
  /** How bad it is. */
  points: number
  /** Never let go of: its address is all that a newcomer may have. */
  kept: boolean
}

/** Bounds of {@link surplus}. */
export interface ConnectionBounds {
  /** Connections that a peer dials up to; so many of the oldest are kept, and a flood of newcomers cannot push them out. */
  target: number
  /** Connections above which even those in use are let go of. */
  max: number
}

/** Above half-way between target and max, what has not been used for so long is let go of, ms. */
export const IDLE = 60_000

/** Peers to disconnect now: the worst first, then those longest unused. */
export function surplus(connected: readonly Connected[], { target, max }: ConnectionBounds, now: number): PeerName[] {
  const comfortable = Math.ceil((target + max) / 2)
  if (connected.length <= comfortable) {
    return []
  }
  const oldest = [...connected].sort((a, b) => a.openedAt - b.openedAt).slice(0, target)
  const settled = new Set(oldest.filter(({ points }) => points === 0))
  const order = connected
    .filter((one) => !one.kept && !settled.has(one))
    .sort((a, b) => b.points - a.points || a.usedAt - b.usedAt)
  const idle = order.filter(({ usedAt }) => now - usedAt >= IDLE).slice(0, connected.length - comfortable)
  const over = Math.max(0, connected.length - max)
  return [...new Set([...order.slice(0, over), ...idle])].map(({ peer }) => peer)
}
