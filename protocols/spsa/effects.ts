/** What has to be added to the sums to get from one set of contributions to another. */
import type { PeerName } from '../ports.ts'
import { decodeByte } from './byte.ts'
import type { VersionVector } from './types.ts'
import { type WeightRule, weightOf } from './weights.ts'

/** Multiples of one author's directions, for consecutive steps. */
export interface Effect {
  author: PeerName
  /** Step of the first coefficient. */
  from: number
  /** By how much the numerators of the direction of each step are multiplied. */
  coefficients: Int32Array
}

/**
 * The effects that turn the sums of set `before` into those of set `after`: contributions that came, that went, and, where the scaling depends on the size
 * of a round, those that weigh something else because others came or went. `bytesOf` gives an author's bytes from step 1 on, as many as either set has.
 */
export function effectsBetween(
  before: VersionVector,
  after: VersionVector,
  bytesOf: (author: PeerName) => Uint8Array,
  rule: WeightRule,
): Effect[] {
  const [sizesBefore, sizesAfter] = [roundSizes(before), roundSizes(after)]
  const resized = rule.scaling === 'sum' ? undefined : resizedSteps(before, after)
  const effects: Effect[] = []
  for (const author of new Set([...before.keys(), ...after.keys()])) {
    const [was, is] = [before.get(author) ?? 0, after.get(author) ?? 0]
    // Own changes lie in (least, most]; rounds of others' changes may lie below.
    const [least, most] = [Math.min(was, is), Math.max(was, is)]
    const start = resized === undefined ? least : Math.min(least, resized.above)
    const end = was !== is ? most : Math.min(most, resized?.upTo ?? 0)
    if (start >= end) {
      continue
    }
    const bytes = bytesOf(author)
    const coefficients = new Int32Array(end - start)
    for (let step = start + 1; step <= end; step++) {
      const weightBefore = step <= was ? weightOf(rule, step, sizesBefore(step)) : 0
      const weightAfter = step <= is ? weightOf(rule, step, sizesAfter(step)) : 0
      if (weightBefore !== weightAfter) {
        coefficients[step - start - 1] = (weightAfter - weightBefore) * decodeByte(bytes[step - 1]!, rule.limit)
      }
    }
    if (coefficients.some((coefficient) => coefficient !== 0)) {
      effects.push({ author, from: start + 1, coefficients })
    }
  }
  return effects
}

/** How many authors have made their contribution for a step. */
function roundSizes(version: VersionVector): (step: number) => number {
  const counts = [...version.values()].sort((a, b) => a - b)
  return (step) => {
    // Authors whose count is below the step, by bisection.
    let low = 0
    let high = counts.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (counts[middle]! < step) {
        low = middle + 1
      } else {
        high = middle
      }
    }
    return counts.length - low
  }
}

/** The steps (above, upTo] outside of which no round has changed its size. */
function resizedSteps(before: VersionVector, after: VersionVector): { above: number; upTo: number } {
  let above = Number.POSITIVE_INFINITY
  let upTo = 0
  for (const author of new Set([...before.keys(), ...after.keys()])) {
    const [was, is] = [before.get(author) ?? 0, after.get(author) ?? 0]
    if (was !== is) {
      above = Math.min(above, was, is)
      upTo = Math.max(upTo, was, is)
    }
  }
  return { above, upTo }
}
