/** A run computed again from its contributions alone, outside of any run: no network, no data, no model evaluated. */
import type { VectorSpec } from '../../kernels/index.ts'
import type { ComputeContext, PeerName } from '../ports.ts'
import { effectsBetween } from './effects.ts'
import { countOf, equalVersions, towards } from './path.ts'
import { applyTask, clearTask, refreshTask, spsaVectors } from './tasks.ts'
import type { VersionVector } from './types.ts'
import type { WeightRule } from './weights.ts'

/** Parameters times contributions between two reports of progress: half a second. */
const SLICE = 2e9

/** Contributions of a slice at most, so that their coefficients take little memory however small the model. */
const MOST = 16_384

/** The vectors that {@link replay} works on, for a model of `size` elements: 'theta' is where the parameters end up, 'base' is the run's common start. */
export function replayVectors(size: number): VectorSpec {
  const { candidate: _, snapshot: __, ...needed } = spsaVectors(size)
  return { theta: { type: 'float32', length: size }, ...needed }
}

/** What {@link replay} is told. */
export interface Replayed {
  /** CID text of the run. */
  run: string
  rule: WeightRule
  /** Contributions by author, from step 1 on. */
  authors: ReadonlyMap<PeerName, Uint8Array>
}

/**
 * theta <- the parameters of these contributions, 'base' being the run's common start: the same bits as at every peer that held them. `progress` is told
 * how many are done, and gives others a turn. Throws StarlingError 'sums-overflow' for contributions that no peer could have applied.
 */
export async function replay(
  context: ComputeContext,
  { run, rule, authors }: Replayed,
  progress: (done: number, all: number) => Promise<void>,
): Promise<void> {
  const target: VersionVector = new Map([...authors].map(([author, bytes]) => [author, bytes.length]))
  const all = countOf(target)
  const limit = Math.min(MOST, Math.max(64, Math.floor(SLICE / context.int32('sums').length)))
  const bytesOf = (author: PeerName): Uint8Array => authors.get(author) ?? new Uint8Array(0)
  clearTask.run(context, null)
  let version: VersionVector = new Map()
  while (!equalVersions(version, target)) {
    const next = towards(version, target, limit)
    applyTask.run(context, { run, effects: effectsBetween(version, next, bytesOf, rule), rule })
    version = next
    await progress(countOf(version), all)
  }
  refreshTask.run(context, { rule })
}
