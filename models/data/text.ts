/** Training rows and validation rows of a text, as bytes. */
import { ModelError } from '../errors.ts'
import { seededRandom } from '../random.ts'
import { byteTokenizer } from '../tokenizers/bytes.ts'
import type { Batch, Dataset } from '../types.ts'
import { permutation } from './permutation.ts'
import { cut, dirichletParts, type Part } from './shards.ts'
import type { DataSpec, ShardSpec } from './spec.ts'

export interface TextOptions {
  /** What the data are called in errors, e.g. the file's name. */
  name: string
  bytes: Uint8Array
  /** Tokens per row. */
  context: number
  seed: number | string
  shard: ShardSpec
  part: Part
  validation: DataSpec['validation']
}

/** Bytes [from, to) of the text. */
export interface Range {
  from: number
  to: number
}

/** Sections into which a text is cut for the Dirichlet rule; neighbouring text is taken to be alike, as a label would say. */
export const TEXT_SECTIONS = 16
/** Blocks per section, where the text is long enough. */
const BLOCKS = 64

/**
 * Where training ends and validation begins: the last `fraction` of the text, but at least one row.
 * @throws ModelError 'text-too-short' with both lengths.
 */
export function splitText(options: Pick<TextOptions, 'name' | 'bytes' | 'context' | 'validation'>): number {
  const { name, bytes, context, validation } = options
  const row = context + 1
  if (bytes.length < 2 * row) {
    throw new ModelError(
      'text-too-short',
      `${name} holds ${bytes.length} bytes; a context of ${context} needs at least ${2 * row}: one row of ${row} to train on and one to validate on`,
      { name, bytes: bytes.length, needed: 2 * row },
    )
  }
  const held = Math.max(row, Math.floor(bytes.length * validation.fraction))
  return bytes.length - Math.min(held, bytes.length - row)
}

/** The bytes that a part is trained on: ranges in rising order, each at least one row long. */
export function trainingRanges(options: TextOptions): Range[] {
  const { name, context, seed, shard, part } = options
  const end = splitText(options)
  const row = context + 1
  if (end < row * part.of) {
    throw new ModelError(
      'text-too-short',
      `the ${end} bytes of ${name} to train on cannot be cut into ${part.of} parts of at least ${row} bytes (context ${context}); cut into at most ${Math.floor(end / row)} or use the shard rule shuffled`,
      { name, bytes: end, parts: part.of, needed: row * part.of },
    )
  }
  if (shard.rule !== 'dirichlet')
    return [{ from: cut(end, part.index, part.of), to: cut(end, part.index + 1, part.of) }]
  const size = Math.max(row, Math.floor(end / (TEXT_SECTIONS * BLOCKS)))
  const blocks = Math.floor(end / size)
  const sections: number[][] = Array.from({ length: TEXT_SECTIONS }, () => [])
  for (let block = 0; block < blocks; block++) sections[Math.floor((block * TEXT_SECTIONS) / blocks)]!.push(block)
  const mine = dirichletParts(sections, part.of, shard.alpha, seed)[part.index]!.toSorted((a, b) => a - b)
  const ranges: Range[] = []
  for (const block of mine) {
    const from = block * size
    // The last block takes what the division left over.
    const to = block === blocks - 1 ? end : from + size
    const last = ranges.at(-1)
    if (last?.to === from) last.to = to
    else ranges.push({ from, to })
  }
  return ranges
}

/**
 * The data set of one peer. An epoch visits every row of the part once, in an order drawn afresh; from the second epoch on, rows start at an
 * offset drawn per epoch, so that the model does not always see a text cut at the same places.
 * @throws ModelError 'text-too-short'
 */
export function textDataset(options: TextOptions): Dataset {
  const { bytes, context, seed, part, validation } = options
  const ranges = trainingRanges(options)
  const end = splitText(options)
  // Rows of each range before this one; a row is `context` inputs and shares its last target with the next row's first input.
  const before: number[] = []
  let rowsPerEpoch = 0
  for (const { from, to } of ranges) {
    before.push(rowsPerEpoch)
    rowsPerEpoch += Math.floor((to - from - 1) / context)
  }
  const orderOf = (epoch: number) => ({
    epoch,
    order: permutation(rowsPerEpoch, seed, part.order, part.index, epoch),
    phase: epoch === 0 ? 0 : seededRandom('phase', seed, part.order, part.index, epoch).integer(context),
  })
  let current = orderOf(0)
  const startOf = (sample: number) => {
    const epoch = Math.floor(sample / rowsPerEpoch)
    if (epoch !== current.epoch) current = orderOf(epoch)
    const row = current.order(sample % rowsPerEpoch)
    let range = 0
    for (let high = ranges.length - 1; range < high; ) {
      const middle = (range + high + 1) >>> 1
      if (before[middle]! <= row) range = middle
      else high = middle - 1
    }
    const { from, to } = ranges[range]!
    return Math.min(from + current.phase + (row - before[range]!) * context, to - context - 1)
  }
  const collect = (starts: readonly number[]): Batch => {
    const rows = starts.length
    const inputs = new Int32Array(rows * context)
    const targets = new Int32Array(rows * context)
    starts.forEach((start, row) => {
      inputs.set(bytes.subarray(start, start + context), row * context)
      targets.set(bytes.subarray(start + 1, start + context + 1), row * context)
    })
    return { kind: 'text', rows, context, inputs, targets }
  }
  return {
    kind: 'text',
    classes: byteTokenizer.size,
    tokenizer: byteTokenizer,
    batch(number, rows) {
      checkBatch(number, rows)
      return collect(Array.from({ length: rows }, (_, row) => startOf(number * rows + row)))
    },
    *validation(rows) {
      checkBatch(0, rows)
      const windows = Math.floor((bytes.length - end - 1) / context)
      const count = Math.min(windows, validation.rows)
      for (let first = 0; first < count; first += rows) {
        // Spread evenly over the split, so that a small share of it still stands for all.
        const starts = Array.from(
          { length: Math.min(rows, count - first) },
          (_, i) => end + Math.floor(((first + i) * windows) / count) * context,
        )
        yield collect(starts)
      }
    },
  }
}

/** @throws RangeError when a batch number or a row count is not a whole number in range. */
export function checkBatch(number: number, rows: number): void {
  if (!Number.isSafeInteger(number) || number < 0) throw new RangeError(`batch number ${number} is not a whole number`)
  if (!Number.isInteger(rows) || rows < 1) throw new RangeError(`a batch of ${rows} rows`)
}
