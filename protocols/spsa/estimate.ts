/**
 * The two-point estimate of a directional derivative (Spall 1992, IEEE Transactions on Automatic Control 37(3), equation 2.1; MeZO, arXiv 2305.17333,
 * definition 1).
 */
import { StarlingError } from '../errors.ts'

/**
 * g = (L(theta + epsilon z) - L(theta - epsilon z)) / (2 epsilon), the derivative of the loss along z: exact for linear and quadratic losses. With z of
 * zero mean and unit covariance g z is an unbiased estimate of the gradient, up to terms of order epsilon². Throws 'not-finite' when a loss is.
 */
export function projectedGradient(plus: number, minus: number, epsilon: number): number {
  const gradient = (plus - minus) / (2 * epsilon)
  if (!Number.isFinite(gradient)) {
    const message = `the losses at theta ± epsilon z are ${plus} and ${minus}: training diverged; lower strategy.learningRate`
    throw new StarlingError('not-finite', message, { plus, minus, epsilon })
  }
  return gradient
}
