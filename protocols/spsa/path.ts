/** The way from one set of contributions to another, in steps of bounded work: every stop on it is a set, so a kill or a copy may come at any of them. */
import type { PeerName } from '../ports.ts'
import type { VersionVector } from './types.ts'

/**
 * The next set on the way from `from` to `to`, at most `limit` contributions away; `to` itself at the end. First goes what is in `from` and not in
 * `to`, then come the missing ones in the order of their steps: rounds that fill up in order keep the weights of what is in already.
 */
export function towards(from: VersionVector, to: VersionVector, limit: number): VersionVector {
  const next = new Map(from)
  let left = limit
  for (const [author, count] of from) {
    const surplus = Math.min(count - (to.get(author) ?? 0), left)
    if (surplus > 0) {
      set(next, author, count - surplus)
      left -= surplus
    }
  }
  if (left < limit) {
    return next
  }
  const missing = [...to].filter(([author, count]) => count > (from.get(author) ?? 0))
  const upTo = (step: number): number =>
    missing.reduce((sum, [author, count]) => sum + Math.max(0, Math.min(count, step) - (from.get(author) ?? 0)), 0)
  // The highest step up to which all fits, by bisection: upTo(low) <= limit < upTo(high).
  let low = 0
  let high = Math.max(0, ...missing.map(([, count]) => count)) + 1
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (upTo(middle) <= limit) {
      low = middle
    } else {
      high = middle
    }
  }
  for (const [author, count] of missing) {
    const goal = Math.min(count, low)
    if (goal > (next.get(author) ?? 0)) {
      left -= goal - (next.get(author) ?? 0)
      next.set(author, goal)
    }
  }
  // Of the step after it, as many authors' as there is room for.
  for (const [author, count] of missing) {
    if (left > 0 && count > low && (next.get(author) ?? 0) === low) {
      next.set(author, low + 1)
      left--
    }
  }
  return next
}

/** Whether both are the same set. */
export function equalVersions(a: VersionVector, b: VersionVector): boolean {
  return a.size === b.size && [...a].every(([author, count]) => b.get(author) === count)
}

/** Contributions in a set. */
export function countOf(version: VersionVector): number {
  return [...version.values()].reduce((sum, count) => sum + count, 0)
}

function set(version: Map<PeerName, number>, author: PeerName, count: number): void {
  if (count > 0) {
    version.set(author, count)
  } else {
    version.delete(author)
  }
}
