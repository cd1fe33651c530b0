/** What checks of a simulation need and give. */
import type { Learner, PeerName, StrategyEvent } from '../../../protocols/index.ts'
import type { Process } from '../../world.ts'

/** Something that must never be. */
export interface Violation {
  /**
   * NoLoCo: 'one-sided-exchange': one side took the step together and the other alone. 'counted-twice': a process took the step of one round twice.
   * 'mean-moved': the two sides of an exchange together moved otherwise than NoLoCo says.
   * One byte per gradient: 'same-set-other-bits': two peers hold the same contributions and not the same sums and parameters.
   */
  kind: 'one-sided-exchange' | 'counted-twice' | 'mean-moved' | 'same-set-other-bits'
  /** Milliseconds of virtual time. */
  at: number
  round: number
  peers: readonly PeerName[]
}

/** What all checks are made from. */
export interface CheckParts {
  now: () => number
  /** Peers that lie in what they send: what they and their partners move by is theirs to say. */
  liars: ReadonlySet<PeerName>
}

/** Looks at everything that the peers of a simulation do. */
export interface Checks {
  readonly violations: Violations
  /** A new process of a peer begins. */
  started(peer: PeerName): void
  /** The same learner, watched as far as this needs it. */
  watch(peer: PeerName, learner: Learner): Learner
  /** Takes in what a peer reports. */
  saw(process: Process, event: StrategyEvent): void
}

/** Violations kept; all are counted. */
const MAX_KEPT = 100

/** What was found. */
export class Violations {
  readonly kept: Violation[] = []
  count = 0
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  add(kind: Violation['kind'], round: number, peers: readonly PeerName[]): void {
    this.count++
    if (this.kept.length < MAX_KEPT) {
      this.kept.push({ kind, at: this.#now(), round, peers })
    }
  }
}

/** For a strategy of which nothing is known that must hold at every moment. */
export class NoChecks implements Checks {
  readonly violations = new Violations(() => 0)

  started(): void {}

  watch(_: PeerName, learner: Learner): Learner {
    return learner
  }

  saw(): void {}
}
