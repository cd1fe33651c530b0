/** The outer step of NoLoCo (arXiv 2506.10911, equations 1 to 3, with the sign of equation 2 corrected). */
import type { Kernels } from '../../kernels/index.ts'
import type { OuterConstants } from './stability.ts'

/** One replica: fast weights, slow weights and outer momentum. */
export interface Replica {
  theta: Float32Array | Float64Array
  phi: Float32Array | Float64Array
  delta: Float32Array | Float64Array
}

/**
 * The outer step as the paper states it, in doubles and for any group: what the fast form below is tested against.
 *
 *     Delta_i = theta_i - phi_i
 *     delta_i <- alpha delta_i + beta mean(Delta_j) + gamma (mean(phi_j) - phi_i)      over j in the group
 *     phi_i   <- phi_i + delta_i;   theta_i <- phi_i
 *
 * The printed equation 2 subtracts the mean of Delta, which diverges. The momentum is heavy ball, without look-ahead, as in the paper's code.
 * `own` must be one of `group`.
 */
export function outerStepReference(
  own: Replica,
  group: readonly Replica[],
  { alpha, beta, gamma }: OuterConstants,
): Replica {
  const size = own.phi.length
  const phi = new Float64Array(size)
  const delta = new Float64Array(size)
  for (let k = 0; k < size; k++) {
    let progress = 0
    let slow = 0
    for (const replica of group) {
      progress += (replica.theta[k]! - replica.phi[k]!) / group.length
      slow += replica.phi[k]! / group.length
    }
    delta[k] = alpha * own.delta[k]! + beta * progress + gamma * (slow - own.phi[k]!)
    phi[k] = own.phi[k]! + delta[k]!
  }
  return { theta: phi.slice(), phi, delta }
}

/**
 * The one tensor that a peer sends: message = (beta/gamma) theta + (1 - beta/gamma) phi, which is theta itself with gamma = beta. With it
 *
 *     delta_i <- alpha delta_i + gamma ((message_i + message_j)/2 - phi_i)
 *
 * is the step above for the pair (i, j), so one tensor each way is enough where the paper describes two.
 */
export function composeMessage(
  kernels: Kernels,
  message: Float32Array,
  theta: Float32Array,
  phi: Float32Array,
  constants: OuterConstants,
): void {
  message.set(theta)
  if (constants.beta !== constants.gamma) {
    const share = constants.beta / constants.gamma
    kernels.scale(message, share)
    kernels.axpy(message, 1 - share, phi)
  }
}

/**
 * The outer step from two messages: delta, phi and theta are overwritten. Pass `own` twice to step alone, which is Lookahead with momentum on
 * the local weights.
 */
export function outerStep(
  kernels: Kernels,
  replica: { theta: Float32Array; phi: Float32Array; delta: Float32Array },
  own: Float32Array,
  partner: Float32Array,
  { alpha, gamma }: OuterConstants,
): void {
  kernels.heavyBall(replica.phi, replica.delta, replica.theta, own, partner, { alpha, beta: gamma })
}
