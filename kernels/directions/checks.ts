import { KernelError } from '../errors.ts'
import { DIRECTION_GROUP, DIRECTION_KEY_BYTES } from './types.ts'

/** @throws KernelError 'index-range' unless a vector of `length` elements may begin at `first` of a whole one */
export function checkFirst(kernel: string, first: number, length: number): void {
  if (!(Number.isInteger(first) && first >= 0 && first % DIRECTION_GROUP === 0 && first + length <= 2 ** 31)) {
    const message = `${kernel}: the first element is a multiple of ${DIRECTION_GROUP} with all below 2^31, not ${first}`
    throw new KernelError('index-range', message, { kernel, first, length })
  }
}

/** @throws KernelError 'length-mismatch' unless it is one key */
export function checkKey(kernel: string, key: Uint8Array): void {
  if (key.length !== DIRECTION_KEY_BYTES) {
    const message = `${kernel}: a key has ${DIRECTION_KEY_BYTES} bytes, not ${key.length}`
    throw new KernelError('length-mismatch', message, { kernel, key: key.length })
  }
}

/** @throws KernelError 'length-mismatch' unless there are `count` keys and coefficients */
export function checkCount(kernel: string, keys: Uint8Array, coefficients: Int32Array, count: number): void {
  const room = Math.min(Math.floor(keys.length / DIRECTION_KEY_BYTES), coefficients.length)
  if (!(Number.isInteger(count) && count >= 0 && count <= room)) {
    const message = `${kernel}: there are keys and coefficients for ${room} directions, not for ${count}`
    throw new KernelError('length-mismatch', message, { kernel, count, room })
  }
}
