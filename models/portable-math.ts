/**
 * Logarithm and exponential from + − × ÷ only. `Math.log` and `Math.exp` may differ in the last bit between engines and machines, and a
 * shard's border that depends on them could then differ between two peers. Relative error below 1e-14 in the ranges used here.
 */

/** Natural logarithm of a positive finite number. */
export function log(x: number): number {
  if (!(x > 0) || x === Number.POSITIVE_INFINITY) throw new RangeError(`no logarithm of ${x}`)
  let exponent = 0
  let mantissa = x
  // Powers of two are exact, so the loop loses nothing; numbers drawn from 32 bits need at most 64 rounds.
  while (mantissa > Math.SQRT2) {
    mantissa /= 2
    exponent++
  }
  while (mantissa < Math.SQRT1_2) {
    mantissa *= 2
    exponent--
  }
  // log m = 2 artanh t with t = (m − 1) / (m + 1), |t| <= 0.172: the term t^21 / 21 is below 1e-17.
  const t = (mantissa - 1) / (mantissa + 1)
  const square = t * t
  let sum = 0
  for (let k = 21; k >= 1; k -= 2) sum = sum * square + 1 / k
  return 2 * t * sum + exponent * Math.LN2
}

/** Exponential; 0 below −745 and infinite above 709. */
export function exp(x: number): number {
  if (x < -745) return 0
  if (x > 709) return Number.POSITIVE_INFINITY
  const exponent = Math.round(x / Math.LN2)
  const rest = x - exponent * Math.LN2
  // |rest| <= 0.347: the term rest^16 / 16! is below 1e-20.
  let sum = 1
  for (let k = 16; k >= 1; k--) sum = 1 + (rest * sum) / k
  let result = sum
  for (let i = 0; i < exponent; i++) result *= 2
  for (let i = 0; i > exponent; i--) result /= 2
  return result
}
