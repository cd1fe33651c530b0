/** Rounds to the nearest integer, ties to even, as SIMD `nearest` does. */
export function nearest(x: number): number {
  const down = Math.floor(x)
  const rest = x - down
  if (rest < 0.5) return down
  if (rest > 0.5) return down + 1
  return down % 2 === 0 ? down : down + 1
}
