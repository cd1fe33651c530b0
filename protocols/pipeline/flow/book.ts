/** What a holder keeps of one data peer: the microbatches under way, and what it has summed for the step that they belong to. */
import type { PeerName } from '../../ports.ts'
import { keyOf, type PassId, type VisitState } from '../messages.ts'
import type { Path } from '../paths/types.ts'

/** Finished passes without a backward pass that are remembered, so that a question asked twice is not worked on twice. */
const REMEMBERED = 64

/** A pass of one microbatch at one hop. */
export interface Visit {
  readonly id: PassId
  readonly path: Path
  readonly hop: number
  readonly rows: number
  state: VisitState
  /** While it has one. */
  slot: number | undefined
  /** Settles when the tensor of the forward pass, or its gradient, is here. */
  received: Promise<void>
  gradient: Promise<void> | undefined
  /** Its activation is computed: only then can there be a gradient. */
  computed: boolean
  /** Computing took so long. */
  milliseconds: number
  /** Aborted when it counts for nothing any more. */
  readonly dropped: AbortController
  /** Aborted when the next peer is known to have what is being handed to it. */
  readonly handed: AbortController
}

/** A step of a stage that was applied, so that the same question again is answered alike. */
export interface Applied {
  step: number
  attempt: number
  gradientNorm: Promise<number>
}

/** Everything of one data peer. */
export class Book {
  readonly origin: PeerName
  /** Which of the gradients is its own. */
  readonly accumulator: number
  session: number
  /** Earlier process of the data peer: nothing of it is taken any more. */
  #before: number | undefined
  /** The latest attempt heard of. They rise over all steps of a session. */
  attempt = 0
  /** By key and hop; at most a step's microbatches at each hop here, and {@link REMEMBERED}. */
  readonly visits = new Map<string, Visit>()
  /** Microbatches in the gradient of each stage, not committed yet. Bounded by the stages held and the microbatches of a step. */
  readonly sums = new Map<number, Set<number>>()
  /** Bounded by the stages. */
  readonly applied = new Map<number, Applied>()

  constructor(origin: PeerName, accumulator: number, session: number) {
    this.origin = origin
    this.accumulator = accumulator
    this.session = session
  }

  /** How a pass stands to what is under way here. A newer one makes what is here count for nothing. */
  compare({ session, attempt, keep }: Pick<PassId, 'session' | 'attempt' | 'keep'>): 'current' | 'newer' | 'stale' {
    if (session !== this.session) {
      return session === this.#before ? 'stale' : 'newer'
    }
    if (attempt > this.attempt) {
      return 'newer'
    }
    // A text that is being continued does not mind which attempt at a step it runs beside.
    return keep && attempt < this.attempt ? 'stale' : 'current'
  }

  /** Turns to a newer attempt. What it leaves behind has been dropped by the caller. */
  turnTo({ session, attempt }: PassId): void {
    if (session !== this.session) {
      this.#before = this.session
      this.session = session
      this.applied.clear()
    }
    this.attempt = attempt
  }

  visit(id: PassId, hop: number): Visit | undefined {
    return this.visits.get(keyOf(id, hop))
  }

  add(visit: Visit): void {
    const over = [...this.visits].filter(([, { id, state }]) => !id.keep && state === 'done')
    for (const [key] of over.slice(0, Math.max(0, over.length - REMEMBERED + 1))) {
      this.visits.delete(key)
    }
    this.visits.set(keyOf(visit.id, visit.hop), visit)
  }

  remove(visit: Visit): void {
    const key = keyOf(visit.id, visit.hop)
    if (this.visits.get(key) === visit) {
      this.visits.delete(key)
    }
  }

  /** Passes that have memory in that stage. */
  load(stage: number): number {
    let count = 0
    for (const { slot, path, hop } of this.visits.values()) {
      count += slot !== undefined && path[hop]!.stage === stage ? 1 : 0
    }
    return count
  }

  sum(stage: number): Set<number> {
    const found = this.sums.get(stage) ?? new Set()
    this.sums.set(stage, found)
    return found
  }
}
