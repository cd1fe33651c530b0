/** Fragments: a model cut into a few parts of one length that travel and are mixed one at a time. */
import type { TensorPart } from './types.ts'

/** Fragments begin at multiples of this many elements: a block of the int8 code, and a multiple of the 64 bytes that kernels like. */
export const FRAGMENT_ALIGNMENT = 256

/** Elements `start` to `end` (not included) of fragment `index` of `count`; the last ones may be shorter or, in a tiny model, empty. */
export function fragmentOf(size: number, count: number, index: number): { start: number; end: number } {
  const length = Math.ceil(size / count / FRAGMENT_ALIGNMENT) * FRAGMENT_ALIGNMENT
  return { start: Math.min(size, index * length), end: Math.min(size, (index + 1) * length) }
}

/** The parts of tensors that lie in a fragment, counted from its beginning. A tensor that is cut is corrected and measured in its parts. */
export function partsIn(tensors: readonly TensorPart[], { start, end }: { start: number; end: number }): TensorPart[] {
  return tensors.flatMap((tensor) => {
    const from = Math.max(tensor.offset, start)
    const to = Math.min(tensor.offset + tensor.length, end)
    return from < to ? [{ name: tensor.name, offset: from - start, length: to - from }] : []
  })
}
