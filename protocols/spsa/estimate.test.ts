import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { StarlingError } from '../errors.ts'
import { seededRandom } from '../random.ts'
import { projectedGradient } from './estimate.ts'

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0)
const along = (x: readonly number[], t: number, z: readonly number[]): number[] =>
  x.map((value, i) => value + t * z[i]!)

/** Directions by name, with the fourth moment of their elements. */
function directions(seed: number) {
  const random = seededRandom('estimate', seed)
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform())
  const sign = (): number => (random.uniform() < 0.5 ? -1 : 1)
  return { gaussian: { draw: normal, kurtosis: 3 }, sign: { draw: sign, kurtosis: 1 } }
}

const draws = (count: number, draw: () => number): number[] => Array.from({ length: count }, draw)

describe('the two-point estimate', () => {
  const size = 20
  const random = seededRandom('estimate', 'fixed')
  const theta = draws(size, () => random.uniform() - 0.5)
  const slope = draws(size, () => random.uniform() - 0.5)
  const matrix = Array.from({ length: size }, () => draws(size, () => random.uniform() - 0.5))
  const curvature = matrix.map((row, i) => row.map((value, j) => value + matrix[j]![i]!))
  const linear = (x: readonly number[]): number => dot(slope, x)
  const quadratic = (x: readonly number[]): number =>
    linear(x) +
    0.5 *
      dot(
        x,
        curvature.map((row) => dot(row, x)),
      )
  const gradient = slope.map((value, i) => value + dot(curvature[i]!, theta))

  test('is exact for linear and quadratic losses, for every epsilon', () => {
    for (const [loss, expected] of [
      [linear, slope],
      [quadratic, gradient],
    ] as const) {
      for (const epsilon of [1e-3, 0.1, 1, 10]) {
        const z = draws(size, directions(1).gaussian.draw)
        const found = projectedGradient(loss(along(theta, epsilon, z)), loss(along(theta, -epsilon, z)), epsilon)
        assert.ok(Math.abs(found - dot(expected, z)) < 1e-10, `${found} instead of ${dot(expected, z)}`)
      }
    }
  })

  test('times its direction is unbiased, with second moment d - 1 + the fourth moment of z: d + 2 for Gaussian ones, d for signs', () => {
    for (const { draw, kurtosis } of Object.values(directions(2))) {
      const count = 60_000
      const mean = new Array<number>(size).fill(0)
      let second = 0
      for (let i = 0; i < count; i++) {
        const z = draws(size, draw)
        const g = projectedGradient(quadratic(along(theta, 0.1, z)), quadratic(along(theta, -0.1, z)), 0.1)
        z.forEach((value, k) => {
          mean[k]! += (g * value) / count
        })
        second += (g * g * dot(z, z)) / count
      }
      const energy = dot(gradient, gradient)
      // The error of each element of the mean is about |gradient| / sqrt(count).
      const far = 5 * Math.sqrt(energy / count) * Math.sqrt(2)
      for (const [k, value] of mean.entries()) {
        assert.ok(Math.abs(value - gradient[k]!) < far, `element ${k}`)
      }
      const expected = (size - 1 + kurtosis) * energy
      assert.ok(Math.abs(second / expected - 1) < 0.04, `second moment ${second}, expected ${expected}`)
    }
  })

  test('contracts an isotropic quadratic as the exact formulas say, divided by n or by its root', () => {
    const d = 50
    const rate = 0.01
    const { draw } = directions(3).gaussian
    const start = draws(d, () => 1)
    const loss = (x: readonly number[]): number => 0.5 * dot(x, x)
    for (const n of [1, 4, 8]) {
      for (const [divisor, expected] of [
        [Math.sqrt(n), 1 - 2 * rate * Math.sqrt(n) + rate * rate * (d + n + 1)],
        [n, 1 - 2 * rate + (rate * rate * (d + n + 1)) / n],
      ] as const) {
        const rounds = 4_000
        let ratio = 0
        for (let round = 0; round < rounds; round++) {
          let next = start
          for (let i = 0; i < n; i++) {
            const z = draws(d, draw)
            const g = projectedGradient(loss(along(start, 1e-3, z)), loss(along(start, -1e-3, z)), 1e-3)
            next = along(next, (-rate / divisor) * g, z)
          }
          ratio += dot(next, next) / dot(start, start) / rounds
        }
        assert.ok(Math.abs(ratio - expected) < 2e-3, `n ${n}: ${ratio} instead of ${expected}`)
      }
    }
  })

  test('of losses that are not finite is refused', () => {
    for (const [plus, minus] of [
      [Number.NaN, 1],
      [1, Number.POSITIVE_INFINITY],
      [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
    ] as const) {
      assert.throws(
        () => projectedGradient(plus, minus, 1e-3),
        (error) => error instanceof StarlingError && error.code === 'not-finite',
      )
    }
  })
})
