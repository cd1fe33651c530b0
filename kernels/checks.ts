import { KernelError } from './errors.ts'

type Sized = { readonly length: number }

/** @throws KernelError 'length-mismatch' unless all have the length of the first. */
export function checkLengths(kernel: string, vectors: Record<string, Sized>): void {
  let first: number | undefined
  for (const name in vectors) {
    const { length } = vectors[name]!
    first ??= length
    if (length !== first) {
      const lengths = Object.fromEntries(Object.entries(vectors).map(([key, vector]) => [key, vector.length]))
      throw new KernelError('length-mismatch', `${kernel}: lengths differ: ${JSON.stringify(lengths)}`, {
        kernel,
        lengths,
      })
    }
  }
}

/** Rows fit the ids and every id names a row of the table. @throws KernelError 'length-mismatch' or 'index-range' */
export function checkRows(table: Sized, ids: Int32Array, rows: Sized, width: number): void {
  if (rows.length !== ids.length * width || table.length % width !== 0) {
    throw new KernelError(
      'length-mismatch',
      `scatterAddRows: ${ids.length} ids of width ${width} do not fit the rows or the table`,
      {
        table: table.length,
        ids: ids.length,
        rows: rows.length,
        width,
      },
    )
  }
  const count = table.length / width
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]!
    if (id < 0 || id >= count) {
      throw new KernelError('index-range', `scatterAddRows: id ${id} at ${i} is outside 0..${count - 1}`, {
        id,
        at: i,
        count,
      })
    }
  }
}
