import { checkLengths, checkRows } from './checks.ts'
import { codecTwins } from './codecs/index.ts'
import { adamwConstants } from './constants.ts'
import { directionTwins } from './directions/index.ts'
import { laneSum } from './rounding.ts'
import type { Kernels } from './types.ts'

const f = Math.fround

/**
 * The kernels in plain TypeScript: every operation rounded to single precision on its own, in the order of kernels/assembly. They say what
 * the SIMD kernels must compute, to the bit, and work on any typed array, shared or not.
 *
 * Rounding a double-precision result of +, -, *, / or sqrt on single-precision operands to single precision gives the correctly rounded
 * single-precision result (Figueroa 1995), which is why `Math.fround` around each operation is enough.
 */
export const twins: Kernels = {
  kind: 'twin',

  ...codecTwins,
  ...directionTwins,

  adamw(theta, gradient, m, v, options) {
    checkLengths('adamw', { theta, gradient, m, v })
    const c = adamwConstants(options)
    for (let i = 0; i < theta.length; i++) {
      const g = f(gradient[i]! * c.gradientScale)
      const mi = f(f(c.beta1 * m[i]!) + f(c.oneMinusBeta1 * g))
      const vi = f(f(c.beta2 * v[i]!) + f(f(c.oneMinusBeta2 * g) * g))
      m[i] = mi
      v[i] = vi
      const denominator = f(f(Math.sqrt(f(vi * c.correction2))) + c.epsilon)
      const update = f(f(f(mi * c.correction1) * c.learningRate) / denominator)
      theta[i] = f(f(theta[i]! * c.keep) - update)
    }
  },

  sgd(theta, gradient, velocity, options) {
    checkLengths('sgd', { theta, gradient, velocity })
    const scale = f(options.gradientScale)
    const momentum = f(options.momentum)
    const decay = f(options.weightDecay)
    const rate = f(options.learningRate)
    for (let i = 0; i < theta.length; i++) {
      const t = theta[i]!
      const g = f(f(gradient[i]! * scale) + f(decay * t))
      const u = f(f(momentum * velocity[i]!) + g)
      velocity[i] = u
      theta[i] = f(t - f(rate * u))
    }
  },

  axpy(y, a, x) {
    checkLengths('axpy', { y, x })
    const factor = f(a)
    for (let i = 0; i < y.length; i++) y[i] = f(y[i]! + f(factor * x[i]!))
  },

  scale(x, a) {
    const factor = f(a)
    for (let i = 0; i < x.length; i++) x[i] = f(x[i]! * factor)
  },

  sumSquares(x) {
    return laneSum(x.length, (i) => x[i]! * x[i]!)
  },

  squaredDistance(a, b) {
    checkLengths('squaredDistance', { a, b })
    return laneSum(a.length, (i) => {
      const difference = f(a[i]! - b[i]!)
      return difference * difference
    })
  },

  allFinite(x) {
    for (let i = 0; i < x.length; i++) if (!Number.isFinite(x[i]!)) return false
    return true
  },

  heavyBall(phi, delta, theta, own, partner, options) {
    checkLengths('heavyBall', { phi, delta, theta, own, partner })
    const alpha = f(options.alpha)
    const beta = f(options.beta)
    for (let i = 0; i < phi.length; i++) {
      const mean = f(f(own[i]! + partner[i]!) * 0.5)
      const d = f(f(alpha * delta[i]!) + f(beta * f(mean - phi[i]!)))
      const next = f(phi[i]! + d)
      delta[i] = d
      phi[i] = next
      theta[i] = next
    }
  },

  scatterAddRows(table, ids, rows, width) {
    checkRows(table, ids, rows, width)
    for (let r = 0; r < ids.length; r++) {
      const target = ids[r]! * width
      for (let k = 0; k < width; k++) table[target + k] = f(table[target + k]! + rows[r * width + k]!)
    }
  },
}
