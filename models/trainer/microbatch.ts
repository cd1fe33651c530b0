/** Large batches are computed in parts; a part's rows are weighted by the whole batch, so the sum is the whole batch's gradient. */
import type { Batch, Dataset } from '../types.ts'

/** Rows computed at once unless the configuration says otherwise: a part's activations should fit the machine's caches and memory. */
export function defaultMicrobatch(dataset: Dataset): number {
  return dataset.kind === 'text' ? 16 : 256
}

/** Tokens or images in a batch. */
export function sampleCount(batch: Batch): number {
  return batch.kind === 'text' ? batch.rows * batch.context : batch.rows
}

/** Consecutive parts of at most `rows` rows, over the same memory; the last may be smaller. */
export function splitBatch(batch: Batch, rows: number): Batch[] {
  if (batch.rows <= rows) return [batch]
  if (rows < 1) return []
  const parts: Batch[] = []
  for (let begin = 0; begin < batch.rows; begin += rows)
    parts.push(cut(batch, begin, Math.min(batch.rows, begin + rows)))
  return parts
}

/** The validation data in parts of at most `rows` rows, no more than `maxRows` in all. */
export function* validationParts(dataset: Dataset, rows: number, maxRows = Number.POSITIVE_INFINITY): Generator<Batch> {
  let left = maxRows
  for (const batch of dataset.validation(rows)) {
    const [part] = splitBatch(batch, left)
    if (part === undefined) return
    yield part
    left -= part.rows
    if (left < 1) return
  }
}

function cut(batch: Batch, begin: number, end: number): Batch {
  if (batch.kind === 'text') {
    const { context, inputs, targets } = batch
    return {
      ...batch,
      rows: end - begin,
      inputs: inputs.subarray(begin * context, end * context),
      targets: targets.subarray(begin * context, end * context),
    }
  }
  const size = batch.height * batch.width * batch.channels
  return {
    ...batch,
    rows: end - begin,
    pixels: batch.pixels.subarray(begin * size, end * size),
    labels: batch.labels.subarray(begin, end),
  }
}
