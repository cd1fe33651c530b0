/** Inference with stages left out: SkipPipe's models bear it, because they were trained on partial paths. */
import type { Random } from '../../ports.ts'
import { shuffled } from '../../random.ts'

/**
 * Stages of one pass: the first one and `others` of the rest, drawn at random, in natural order. Throws a RangeError where there are not so many.
 */
export function omittedOrder(stages: number, others: number, random: Random): number[] {
  if (!(Number.isInteger(others) && others >= 0 && others < stages)) {
    throw new RangeError(`of ${stages} stages 0 to ${stages - 1} can be kept beside the first, not ${others}`)
  }
  const rest = Array.from({ length: stages - 1 }, (_, i) => i + 2)
  return [1, ...shuffled(rest, random).slice(0, others)].sort((a, b) => a - b)
}
