/** The stages in their order, and for CheckFree+ with twins swapped; each at the holder that has least to do. */
import { StarlingError } from '../../errors.ts'
import type { Found, PathGenerator, PathRequest, Reachable } from './types.ts'

/** Stages 1 to `stages`. */
export const naturalOrder = (stages: number): number[] => Array.from({ length: stages }, (_, i) => i + 1)

/** The first two and the last two stages swapped: 2, 1, 3, ..., s - 2, s, s - 1 (CheckFree+, arXiv 2506.15461). Throws a RangeError below four stages. */
export function twinOrder(stages: number): number[] {
  if (stages < 4) {
    throw new RangeError(`twins are swapped among 4 stages or more, not ${stages}`)
  }
  const order = naturalOrder(stages)
  order.splice(0, 2, 2, 1)
  order.splice(stages - 2, 2, stages, stages - 1)
  return order
}

/**
 * A path through the stages of that order. Where a stage has several holders it takes the one through which least of this data peer is under way, and among equals
 * another one for every microbatch, so that all replicas see the data.
 */
export function through(order: readonly number[], { step, microbatch }: PathRequest, reachable: Reachable): Found {
  const missing = order.filter((stage) => reachable.ready(stage).length === 0)
  if (missing.length > 0) {
    return { missing }
  }
  const path = order.map((stage) => {
    const peers = [...reachable.ready(stage)].sort()
    const turn = (step + microbatch) % peers.length
    const turned = [...peers.slice(turn), ...peers.slice(0, turn)]
    const peer = turned.reduce((least, other) => (reachable.load(other) < reachable.load(least) ? other : least))
    return { stage, peer }
  })
  return { path }
}

/** All stages in their order. */
export const sequentialPaths = (stages: number): PathGenerator => ({
  path: (request, reachable) => through(naturalOrder(stages), request, reachable),
})

/** Every second microbatch, 1, 3, ..., meets the twins swapped. */
export const twinPaths = (stages: number): PathGenerator => ({
  path: (request, reachable) =>
    through(request.microbatch % 2 === 1 ? twinOrder(stages) : naturalOrder(stages), request, reachable),
})

/** A path through just those stages, e.g. with some left out of an inference. Throws StarlingError 'bad-stages'. */
export function chosenPaths(stages: readonly number[], all: number): PathGenerator {
  const known = stages.every((stage) => Number.isInteger(stage) && stage >= 1 && stage <= all)
  if (!known || stages.length === 0 || new Set(stages).size !== stages.length) {
    throw new StarlingError('bad-stages', `not stages from 1 to ${all}, each once: ${stages.join(', ')}`, { stages })
  }
  return { path: (request, reachable) => through(stages, request, reachable) }
}
