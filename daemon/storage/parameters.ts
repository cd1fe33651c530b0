import { createHash } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { type Layout, layoutTensors } from '../../models/index.ts'

/** Bytes hashed in one go: about a millisecond of the network thread. */
const SLICE = 1024 * 1024

/**
 * SHA-256 of a model's parameters in hex: of the values of its tensors in the layout's order, without padding, which is the data part of the
 * `model.safetensors` that is written from them. Equal hashes are equal bits.
 */
export async function hashParameters(layout: Layout, vector: Float32Array, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  for (const { data } of layoutTensors(layout, vector)) {
    for (let start = 0; start < data.length; start += SLICE) {
      signal?.throwIfAborted()
      // Copied first: OpenSSL takes no shared memory.
      hash.update(Uint8Array.prototype.slice.call(data, start, start + SLICE))
      await turn()
    }
  }
  return hash.digest('hex')
}
