import { seededRandom } from '../random.ts'

/**
 * A pseudo-random permutation of 0 .. size − 1 in constant memory: a four-round Feistel network on the next even number of bits, walked
 * along its cycle until the value is in range (Black & Rogaway 2002, "Ciphers with arbitrary finite domains"). Any place of the
 * order can be asked for at once, so a joiner starts at step n without drawing what came before.
 */
export function permutation(size: number, ...key: readonly (string | number)[]): (index: number) => number {
  if (!Number.isInteger(size) || size < 1 || size > 2 ** 30) throw new RangeError(`no permutation of ${size} values`)
  if (size === 1) return () => 0
  const half = Math.max(1, Math.ceil((32 - Math.clz32(size - 1)) / 2))
  const mask = (1 << half) - 1
  const random = seededRandom('permutation', ...key)
  const keys = Int32Array.from({ length: 4 }, () => random.bits())
  return (index) => {
    if (!Number.isInteger(index) || index < 0 || index >= size)
      throw new RangeError(`place ${index} is not below ${size}`)
    let value = index
    do {
      let left = value >>> half
      let right = value & mask
      for (let round = 0; round < 4; round++) {
        let z = Math.imul(right ^ keys[round]!, 0x9e3779b1)
        z = Math.imul(z ^ (z >>> 15), 0x85ebca6b)
        const mixed = left ^ ((z ^ (z >>> 13)) & mask)
        left = right
        right = mixed
      }
      value = (left << half) | right
    } while (value >= size)
    return value
  }
}
