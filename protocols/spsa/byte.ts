/**
 * The byte of a contribution: a sign (bit 7) and a magnitude of 7 bits, a small float of 3 bits of mantissa whose values are integers, so that it decodes
 * without a rounding on any machine and sums of contributions are sums of integers.
 *
 *     q = byte & 127:   magnitude = q                                 for q < 16
 *                       magnitude = (8 + (q & 7)) * 2^((q >> 3) - 1)  else
 *
 * It counts quanta (the option `quantum`). The reference code of the paper computes round(16 ln |g|) and drops it; that format would need 9 bits.
 */
import { StarlingError } from '../errors.ts'

/** Minus zero, which is no contribution: two bytes for one number would make two histories of one. */
export const BAD_BYTE = 0x80

/** Largest magnitude, in quanta: 15 * 2^14. */
export const LARGEST_MAGNITUDE = 245_760

const SIGN = 0x80

/** Magnitudes by q; rising. */
const MAGNITUDES = Array.from({ length: 128 }, (_, q) => (q < 16 ? q : (8 + (q & 7)) * 2 ** ((q >> 3) - 1)))

/** Quanta by byte; none for {@link BAD_BYTE}. */
const VALUES = Array.from({ length: 256 }, (_, byte) =>
  byte === BAD_BYTE ? undefined : byte & SIGN ? -MAGNITUDES[byte & 127]! : MAGNITUDES[byte]!,
)

/**
 * The byte nearest to a projected gradient, both ends saturating; half-way the one whose magnitude has an even q. Whoever sends it applies what it decodes to.
 *
 * @throws StarlingError 'not-finite' for NaN and infinities
 */
export function encodeByte(gradient: number, quantum: number): number {
  if (!Number.isFinite(gradient)) {
    throw new StarlingError('not-finite', `a projected gradient must be a finite number, not ${gradient}`, { gradient })
  }
  const magnitude = Math.abs(gradient) / quantum
  if (magnitude >= LARGEST_MAGNITUDE) {
    return gradient < 0 ? SIGN | 127 : 127
  }
  // The last q whose magnitude is not above, by bisection.
  let low = 0
  let high = 127
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (MAGNITUDES[middle]! <= magnitude) {
      low = middle
    } else {
      high = middle
    }
  }
  const toLow = magnitude - MAGNITUDES[low]!
  const toHigh = MAGNITUDES[high]! - magnitude
  const q = toLow < toHigh || (toLow === toHigh && low % 2 === 0) ? low : high
  return gradient < 0 && q > 0 ? SIGN | q : q
}

/**
 * Quanta of a byte, no more than `limit` of either sign (the option `clip`).
 *
 * @throws StarlingError 'bad-byte' for {@link BAD_BYTE} and what is no byte
 */
export function decodeByte(byte: number, limit = LARGEST_MAGNITUDE): number {
  const value = VALUES[byte]
  if (value === undefined) {
    throw new StarlingError('bad-byte', `${byte} is no contribution: a byte other than 128 (minus zero) is`, { byte })
  }
  return Math.max(-limit, Math.min(value, limit))
}
