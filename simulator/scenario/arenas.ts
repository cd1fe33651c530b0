/** Memory for the vectors of many peers. */
import { SharedVectors, type VectorEntry, type VectorSpec } from '../../kernels/index.ts'
import type { PeerName } from '../../protocols/index.ts'

/** Peers whose vectors share one memory: a memory of its own for each would need more address space than there is. */
const ARENA = 256

/** Gives each of `peers` peers a part of a memory that many share. The part is cleared when a new process of the peer asks for it. */
export function arenas(peers: number): (name: PeerName, spec: VectorSpec) => SharedVectors {
  const places = new Map<PeerName, SharedVectors>()
  let free: SharedVectors[] = []
  let left = peers
  return (name, spec) => {
    const known = places.get(name)
    if (known !== undefined) {
      for (const vector of known.names) {
        known.bytes(vector).fill(0)
      }
      return known
    }
    if (free.length === 0) {
      const all: VectorSpec = {}
      const count = Math.min(ARENA, Math.max(1, left))
      left -= count
      for (let i = 0; i < count; i++) {
        for (const [vector, entry] of Object.entries(spec)) {
          all[`${i}/${vector}`] = entry
        }
      }
      const { memory, entries } = SharedVectors.create(all).handle
      free = Array.from({ length: count }, (_, i) => {
        const own: Record<string, VectorEntry> = {}
        for (const vector of Object.keys(spec)) {
          own[vector] = entries[`${i}/${vector}`] as VectorEntry
        }
        return SharedVectors.attach({ memory, entries: own })
      })
    }
    const place = free.pop() as SharedVectors
    places.set(name, place)
    return place
  }
}
