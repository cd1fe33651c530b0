/** Adding effects to integer sums, batch by batch, with overflow seen before it happens. */
import { DIRECTION_GROUP, DIRECTION_KEY_BYTES } from '../../kernels/index.ts'
import { StarlingError } from '../errors.ts'
import type { ComputeContext } from '../ports.ts'
import { type DirectionKeys, directionKeys } from './directions.ts'
import type { Effect } from './effects.ts'
import type { WeightRule } from './weights.ts'

/** Directions added in one pass over the sums: enough that the memory traffic of a pass does not count, and keys that stay in the first-level cache. */
export const ROWS = 128

/** Largest sum. */
const LIMIT = 2 ** 31 - 1

/** Bounds of the largest sum above this are replaced by the largest sum itself: half of what there is room for. */
const WORTH_A_LOOK = 2 ** 30

/** Largest numerator of a direction. */
const LARGEST_NUMERATOR = { sign: 1, gaussian: 16 } as const

/** Elements [start, end) of the parameters. */
export interface Part {
  start: number
  end: number
}

/**
 * Part number `index` of `size` parameters that have contributions of their own: of `rule.blocks` parts with equal numbers of direction groups, give or
 * take one. Empty when there are fewer groups than parts and none is left for it.
 */
export function partNumber(index: number, size: number, { blocks }: Pick<WeightRule, 'blocks'>): Part {
  const groups = Math.ceil(size / DIRECTION_GROUP)
  const boundary = (number: number): number => Math.min(size, Math.floor((number * groups) / blocks) * DIRECTION_GROUP)
  return { start: boundary(index), end: boundary(index + 1) }
}

/** The part that an author's contribution for a step is about. */
export function partOf(step: number, size: number, rule: Pick<WeightRule, 'blocks'>): Part {
  return partNumber((step - 1) % rule.blocks, size, rule)
}

/** An effect and the keys of its directions. */
export interface KeyedEffect extends Effect {
  keys: DirectionKeys
}

/** Effects with their keys at hand. */
export function withKeys(run: string, effects: readonly Effect[]): KeyedEffect[] {
  return effects.map((effect) => ({ ...effect, keys: directionKeys(run, effect.author) }))
}

/** Some directions and their coefficients, in the memory of the kernels. */
export interface Rows {
  keys: Uint8Array
  coefficients: Int32Array
  count: number
  /** Σ |coefficient|. */
  magnitude: number
}

/** The effects on one part of the parameters in batches of at most {@link ROWS}; each batch overwrites the one before. */
export function* rowsOf(
  context: ComputeContext,
  effects: readonly KeyedEffect[],
  { blocks }: Pick<WeightRule, 'blocks'>,
  part: number,
): Generator<Rows> {
  const [keys, coefficients] = [context.bytes('spsa-keys'), context.int32('spsa-coefficients')]
  let count = 0
  let magnitude = 0
  for (const effect of effects) {
    // Its steps that are about the part: every `blocks`-th one.
    const first = (part + blocks - ((effect.from - 1) % blocks)) % blocks
    for (let i = first; i < effect.coefficients.length; i += blocks) {
      const coefficient = effect.coefficients[i]!
      if (coefficient === 0) {
        continue
      }
      keys.set(effect.keys.of(effect.from + i), count * DIRECTION_KEY_BYTES)
      coefficients[count++] = coefficient
      magnitude += Math.abs(coefficient)
      if (count === ROWS) {
        yield { keys, coefficients, count, magnitude }
        count = 0
        magnitude = 0
      }
    }
  }
  if (count > 0) {
    yield { keys, coefficients, count, magnitude }
  }
}

/**
 * sums += the effects. No sum leaves 32 bits: when the next batch could make one, what was added is taken off again, which integers do exactly, and it
 * throws StarlingError 'sums-overflow'. Returns parameters times directions, and a bound of the largest sum that is exact above 2^30.
 */
export function addEffects(
  context: ComputeContext,
  run: string,
  effects: readonly Effect[],
  rule: WeightRule,
): { work: number; largest: number } {
  const sums = context.int32('sums')
  const keyed = withKeys(run, effects)
  let largest = context.kernels.maxAbs(sums)
  let work = 0
  let added = 0
  for (const { rows, part } of batches(context, keyed, rule, sums.length)) {
    const growth = rows.magnitude * LARGEST_NUMERATOR[rule.directions]
    if (largest + growth > LIMIT) {
      // The bound adds up as if all directions agreed; what is there is far less.
      largest = context.kernels.maxAbs(sums)
    }
    if (largest + growth > LIMIT) {
      takeOff(context, keyed, rule, added)
      const advice = 'start a run with a larger strategy.quantum or a smaller strategy.clip'
      throw new StarlingError('sums-overflow', `the sums of the contributions would leave 32 bits: ${advice}`, {
        largest,
        growth,
      })
    }
    addRows(context, sums, rows, part, rule)
    largest += growth
    work += rows.count * (part.end - part.start)
    added++
  }
  return { work, largest: largest > WORTH_A_LOOK ? context.kernels.maxAbs(sums) : largest }
}

/** Every batch of every part that has parameters. */
function* batches(
  context: ComputeContext,
  effects: readonly KeyedEffect[],
  rule: WeightRule,
  size: number,
): Generator<{ rows: Rows; part: Part }> {
  for (let index = 0; index < rule.blocks; index++) {
    const part = partNumber(index, size, rule)
    if (part.start < part.end) {
      for (const rows of rowsOf(context, effects, rule, index)) {
        yield { rows, part }
      }
    }
  }
}

/** Takes the first `count` batches off again. */
function takeOff(context: ComputeContext, effects: readonly KeyedEffect[], rule: WeightRule, count: number): void {
  const sums = context.int32('sums')
  let left = count
  for (const { rows, part } of batches(context, effects, rule, sums.length)) {
    if (left-- === 0) {
      return
    }
    for (let i = 0; i < rows.count; i++) {
      rows.coefficients[i] = -rows.coefficients[i]!
    }
    addRows(context, sums, rows, part, rule)
  }
}

function addRows(context: ComputeContext, sums: Int32Array, rows: Rows, { start, end }: Part, rule: WeightRule): void {
  const { keys, coefficients, count } = rows
  context.kernels.addDirections(sums.subarray(start, end), keys, coefficients, count, rule.directions, start)
}
