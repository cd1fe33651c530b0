/** In what order a path may go through the stages: CC1 and CC3. */
import { MAX_JUMP, MAX_SWAPS } from './problem.ts'

/**
 * Where a path has got to. Stages are counted by rank among those that somebody holds, from 1; 0 is before the first. All that decides how it may
 * go on is here, so that paths which differ otherwise can share it.
 */
export interface Progress {
  /** Rank of the last stage, and of the foremost: the same, or one more after a swap. */
  readonly last: number
  readonly foremost: number
  /** Whether the path jumped over the stage before the last one, and so can swap the two. */
  readonly open: boolean
  readonly swaps: number
  /** Stages so far. */
  readonly count: number
}

export const BEGIN: Progress = { last: 0, foremost: 0, open: false, swaps: 0, count: 0 }

/** Ways of going on from there, through `stages` stages of which the first `fixed` come first. */
export function following(at: Progress, stages: number, fixed: number): Progress[] {
  const { foremost, open, swaps } = at
  const count = at.count + 1
  if (at.count < fixed) {
    return [{ last: count, foremost: count, open: false, swaps, count }]
  }
  const result: Progress[] = []
  if (open && swaps < MAX_SWAPS) {
    // One back, to the stage just jumped over. The next one cannot go back again: 3 2 1 is three swaps, not two.
    result.push({ last: foremost - 1, foremost, open: false, swaps: swaps + 1, count })
  }
  for (let last = foremost + 1; last <= Math.min(stages, foremost + MAX_JUMP); last++) {
    result.push({ last, foremost: last, open: last - 1 > foremost, swaps, count })
  }
  return result
}

/** Says what is wrong with an order of ranks, as [constraint, what]; undefined where nothing is. */
export function orderFault(ranks: readonly number[], fixed: number): ['CC1' | 'CC3', string] | undefined {
  for (let i = 0; i < fixed; i++) {
    if (ranks[i] !== i + 1) {
      return ['CC1', `does not begin with the first ${fixed === 1 ? 'stage' : `${fixed} stages`}`]
    }
  }
  const seen = new Set<number>()
  let foremost = 0
  let swaps = 0
  let last = 0
  let swapped = false
  for (const rank of ranks) {
    if (seen.has(rank)) {
      return [rank <= fixed ? 'CC1' : 'CC3', 'goes to a stage twice']
    }
    seen.add(rank)
    if (rank < last) {
      if (last - rank > 1 || swapped) {
        return ['CC3', 'goes back by more than one stage']
      }
      if (++swaps > MAX_SWAPS) {
        return ['CC3', `goes back more than ${MAX_SWAPS} times`]
      }
    } else if (rank - foremost > MAX_JUMP) {
      return ['CC3', `leaves out more than ${MAX_JUMP - 1} stages in a row`]
    }
    swapped = rank < last
    last = rank
    foremost = Math.max(foremost, rank)
  }
  return undefined
}
