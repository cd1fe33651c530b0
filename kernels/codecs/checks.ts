import { checkLengths } from '../checks.ts'
import { KernelError } from '../errors.ts'
import { CODEC_BLOCK, type Dither, TOPK_CHUNK, topKBytes } from './types.ts'

type Sized = { readonly length: number }

function mismatch(kernel: string, what: string, data: Record<string, unknown>): KernelError {
  return new KernelError('length-mismatch', `${kernel}: ${what}`, { kernel, ...data })
}

/** `bits` bits of code per value and one scale per block. @throws KernelError 'length-mismatch' */
export function checkBlocks(kernel: string, bits: number, values: Sized, codes: Sized, scales: Sized): void {
  const [bytes, blocks] = [Math.ceil((values.length * bits) / 8), Math.ceil(values.length / CODEC_BLOCK)]
  if (codes.length !== bytes || scales.length !== blocks) {
    throw mismatch(
      kernel,
      `${values.length} values need ${bytes} bytes of codes and ${blocks} scales, got ${codes.length} and ${scales.length}`,
      { values: values.length, codes: codes.length, scales: scales.length },
    )
  }
}

/** @throws RangeError unless the dither begins with a block of the tensor */
export function checkDither(kernel: string, { seed, first }: Dither, values: Sized): void {
  if (!(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32)) {
    throw new RangeError(`${kernel}: a seed is a whole number from 0 to 2^32 - 1, not ${seed}`)
  }
  if (!(Number.isInteger(first) && first >= 0 && first % CODEC_BLOCK === 0 && first + values.length <= 2 ** 31)) {
    throw new RangeError(`${kernel}: the first value is a multiple of ${CODEC_BLOCK} below 2^31, not ${first}`)
  }
}

/** @throws KernelError 'length-mismatch' */
export function checkHalves(kernel: string, values: Sized, halves: Sized): void {
  checkLengths(kernel, { values, halves })
}

/** @throws KernelError 'length-mismatch', RangeError */
export function checkChunks(kernel: string, length: number, message: Sized, kept: number): void {
  if (!(Number.isInteger(kept) && kept >= 1 && kept <= TOPK_CHUNK)) {
    throw new RangeError(`${kernel}: from 1 to ${TOPK_CHUNK} values are kept of a chunk, not ${kept}`)
  }
  const bytes = topKBytes(length, kept)
  if (message.length !== bytes) {
    throw mismatch(kernel, `${length} values need ${bytes} bytes, got ${message.length}`, {
      values: length,
      bytes: message.length,
    })
  }
}

/** The error for block or chunk number `part`, of `size` values, that cannot be coded. */
export function cannotCode(kernel: string, part: number, size: number = CODEC_BLOCK): KernelError {
  const from = part * size
  return new KernelError(
    'not-finite',
    `${kernel}: NaN, infinity or a value too large for the code between elements ${from} and ${from + size - 1}`,
    { kernel, part },
  )
}
