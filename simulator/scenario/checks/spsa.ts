/** What must hold in every simulation of training by one byte per gradient: whoever holds the same set holds the same bits. */
import { createHash } from 'node:crypto'
import type { Learner, PeerName, StrategyEvent } from '../../../protocols/index.ts'
import type { Process } from '../../world.ts'
import { type CheckParts, type Checks, Violations } from './types.ts'

/** Sets remembered, the latest: peers that are further apart are compared at the sets that they share later. */
const MAX_SETS = 4_096

/** Compares sums and parameters at every change of the set that they stand for. */
export class SpsaChecks implements Checks {
  readonly violations: Violations
  /** By set: the first peer that held it, and the hash of what it had. At most {@link MAX_SETS}. */
  readonly #seen = new Map<string, { peer: PeerName; bits: string }>()

  constructor({ now }: CheckParts) {
    this.violations = new Violations(now)
  }

  started(): void {}

  watch(_: PeerName, learner: Learner): Learner {
    return learner
  }

  saw({ name, learner }: Process, event: StrategyEvent): void {
    if (event.kind !== 'contributions') {
      return
    }
    const { contributions, authors, digest } = event
    const set = `${contributions} ${authors} ${digest}`
    const bits = createHash('sha256').update(learner.bytes('sums')).update(learner.bytes('theta')).digest('hex')
    const first = this.#seen.get(set)
    if (first === undefined) {
      this.#seen.set(set, { peer: name, bits })
      if (this.#seen.size > MAX_SETS) {
        this.#seen.delete(this.#seen.keys().next().value as string)
      }
    } else if (first.bits !== bits) {
      this.violations.add('same-set-other-bits', contributions, [first.peer, name])
    }
  }
}
