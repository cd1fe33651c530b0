/** Rounds to the nearest integer, ties to even, as SIMD `nearest` does. */
export function nearest(x: number): number {
  const down = Math.floor(x)
  const rest = x - down
  if (rest < 0.5) return down
  if (rest > 0.5) return down + 1
  return down % 2 === 0 ? down : down + 1
}

/** Four double-precision sums, lane k taking the elements numbered k modulo 4, joined as (0+2)+(1+3); then the tail. */
export function laneSum(length: number, term: (i: number) => number): number {
  const lanes = [0, 0, 0, 0] as [number, number, number, number]
  const vectorized = length - (length % 4)
  for (let i = 0; i < vectorized; i++) lanes[(i % 4) as 0 | 1 | 2 | 3] += term(i)
  let sum = lanes[0] + lanes[2] + (lanes[1] + lanes[3])
  for (let i = vectorized; i < length; i++) sum += term(i)
  return sum
}
