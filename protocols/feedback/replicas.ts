/**
 * CHOCO-Gossip (Koloskova, Stich & Jaggi 2019, arXiv 1902.00340, algorithm 1): models that are gossiped through a coarse code. Every peer holds
 * a public replica of itself and of each neighbour; what travels is the difference of a model to its public replica, and peers step towards
 * the replicas, not towards the decoded models:
 *
 *     send q = C(x - x̂);   x̂ <- x̂ + q (at the sender and at all its neighbours);   x <- x + gamma · sum over j of w_j (x̂_j - x̂)
 *
 * To send is {@link createFeedback} with 'ef21', whose estimate is the own replica. It costs one copy of the model per neighbour, and a neighbour that
 * misses a message needs the whole replica again.
 */
import type { Kernels } from '../../kernels/index.ts'
import type { TensorCodec } from '../codecs/index.ts'

/** replica <- replica + the message, one slice. `scratch` has the replica's length. Throws StarlingError 'bad-tensor', and changes nothing. */
export function followReplica(
  kernels: Kernels,
  codec: TensorCodec,
  message: { bytes: Uint8Array; size: number; start: number },
  replica: Float32Array,
  scratch: Float32Array,
): void {
  codec.decode(kernels, message.bytes, message.size, message.start, scratch)
  kernels.axpy(replica, 1, scratch)
}

/**
 * The step towards the neighbours' replicas, one slice. Weights are those of a symmetric mixing matrix, without the own. Too large a
 * `gamma` diverges: the coarser the code, the smaller it must be; 0.1 held for top-k of 5 % on a ring, 0.3 did not.
 */
export function stepTowardsReplicas(
  kernels: Kernels,
  x: Float32Array,
  own: Float32Array,
  neighbours: readonly { replica: Float32Array; weight: number }[],
  gamma: number,
): void {
  for (const { replica, weight } of neighbours) {
    kernels.axpy(x, gamma * weight, replica)
    kernels.axpy(x, -gamma * weight, own)
  }
}
