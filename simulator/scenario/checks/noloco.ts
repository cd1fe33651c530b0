/** What must hold in every simulation of NoLoCo, looked at while it runs. */
import type { Learner, PeerName, StrategyEvent } from '../../../protocols/index.ts'
import type { Process } from '../../world.ts'
import { type CheckParts, type Checks, Violations } from './types.ts'

/** Rounds of a peer that the other side of an exchange may still be asked about. */
const MEMORY = 8

/** Deviation of what a pair moved by, relative to what it should have, that float32 explains. */
const TOLERANCE = 1e-5

/** How a process took one round: with whom, if with anybody, and how far the sum of phi went beyond what it would alone. */
interface Taken {
  partner: PeerName | undefined
  /** Which process of the peer took it. */
  process: number
  /** Moved by the outer step, and what its own message alone says; sums over the elements. */
  moved: number
  expected: number
  scale: number
}

/** Looks at every outer step of every peer. Nothing is reported of pairs of which one was restarted since: what a kill may lead to is in docs/noloco.md. */
export class NolocoChecks implements Checks {
  readonly violations: Violations
  readonly #constants: { alpha: number; beta: number; gamma: number }
  /** By peer, then by round; at most {@link MEMORY} rounds of each. */
  readonly #taken = new Map<PeerName, Map<number, Taken>>()
  /** Processes by peer. */
  readonly #processes = new Map<PeerName, number>()
  /** The latest outer step of each peer, until its round is reported. */
  readonly #steps = new Map<PeerName, Pick<Taken, 'moved' | 'expected' | 'scale'>>()
  /** Peers that lie in what they send: what they and their partners move by is theirs to say. */
  readonly #liars: ReadonlySet<PeerName>

  constructor(options: CheckParts & { constants: { alpha: number; beta: number; gamma: number } }) {
    this.violations = new Violations(options.now)
    this.#constants = options.constants
    this.#liars = options.liars
  }

  /** A new process of a peer begins. */
  started(peer: PeerName): void {
    this.#processes.set(peer, (this.#processes.get(peer) ?? 0) + 1)
  }

  /** The same learner, with its outer steps watched. */
  watch(peer: PeerName, learner: Learner): Learner {
    const { alpha, beta, gamma } = this.#constants
    const compute: Learner['compute'] = async (task, args, signal) => {
      if (task.name !== 'noloco-step') {
        return learner.compute(task, args, signal)
      }
      const [theta, phi, delta] = ['theta', 'phi', 'delta'].map((name) => learner.float32(name))
      const before = [theta, phi, delta].map((vector) => sum(vector as Float32Array))
      const [t, p, d] = before as [number, number, number]
      const result = await learner.compute(task, args, signal)
      this.#steps.set(peer, {
        moved: sum(phi as Float32Array) - p,
        expected: alpha * d + gamma * ((beta / gamma) * t + (1 - beta / gamma) * p - p),
        scale: Math.abs(t) + Math.abs(p) + Math.abs(d) + learner.size,
      })
      return result
    }
    return Object.create(learner, { compute: { value: compute, configurable: true } }) as Learner
  }

  /** Takes in what a peer reports. */
  saw({ name: peer }: Process, event: StrategyEvent): void {
    if (event.kind === 'joined') {
      // Another replica: what was done with the one before is over.
      this.#taken.delete(peer)
      return
    }
    if (event.kind !== 'exchange' && event.kind !== 'exchange-skipped') {
      return
    }
    const { round } = event
    const step = this.#steps.get(peer)
    if (step === undefined) {
      return
    }
    this.#steps.delete(peer)
    const process = this.#processes.get(peer) ?? 0
    const rounds = this.#taken.get(peer) ?? new Map<number, Taken>()
    this.#taken.set(peer, rounds)
    if (rounds.get(round)?.process === process) {
      this.violations.add('counted-twice', round, [peer])
    }
    const taken = { partner: event.kind === 'exchange' ? event.partner : undefined, process, ...step }
    rounds.set(round, taken)
    if (rounds.size > MEMORY) {
      rounds.delete(rounds.keys().next().value as number)
    }
    this.#compare(peer, event.partner, round, taken)
  }

  /** Compares both sides of a meeting, once the second of them is through. */
  #compare(peer: PeerName, partner: PeerName | undefined, round: number, own: Taken): void {
    const other = partner === undefined ? undefined : this.#taken.get(partner)?.get(round)
    if (partner === undefined || other === undefined || other.process !== this.#processes.get(partner)) {
      return
    }
    // A peer that was restarted takes its last round again.
    if (own.process !== this.#processes.get(peer)) {
      return
    }
    const together = own.partner === partner
    if (together !== (other.partner === peer)) {
      if (together || other.partner === peer) {
        this.violations.add('one-sided-exchange', round, [peer, partner])
      }
      return
    }
    if (!together || this.#liars.has(peer) || this.#liars.has(partner)) {
      return
    }
    const apart = own.moved + other.moved - own.expected - other.expected
    if (!(Math.abs(apart) <= TOLERANCE * (own.scale + other.scale))) {
      this.violations.add('mean-moved', round, [peer, partner])
    }
  }
}

function sum(vector: Float32Array): number {
  let total = 0
  for (let i = 0; i < vector.length; i++) {
    total += vector[i] as number
  }
  return total
}
