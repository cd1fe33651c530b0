/** What is known of one replica: which differences it has taken in, and which came too early. */
import type { PeerName } from '../../ports.ts'
import type { Fragment } from '../plan.ts'
import type { Difference } from './messages.ts'

/** Differences of one author that wait, of all fragments; the oldest is dropped, and what it was about is fetched. */
const MAX_PENDING = 16

/** A difference that waits for those before it. */
export interface Pending {
  fragment: Fragment
  sequence: number
  energy: number
  bytes: Uint8Array
}

/** Of a fragment that is not a replica, whatever is in memory there. */
const STALE = -1

export class Replica {
  readonly peer: PeerName
  readonly slot: number
  /** Aborted when nobody follows it any more. */
  readonly ended = new AbortController()
  /** Which of its author's public replicas it follows; undefined before anything came. */
  generation: number | undefined
  /** It begins at the run's common start, which has still to be written into its slot. */
  fresh = false
  /** A pull is under way. */
  pulling = false
  /** Nothing is pulled before. */
  pullAt = Number.NEGATIVE_INFINITY
  /** Differences taken in, by fragment; {@link STALE} where it is none. */
  readonly #sequences: number[]
  /** Since when a difference is missing, by fragment. */
  readonly #gaps = new Map<number, number>()
  /** In the order in which they came; at most {@link MAX_PENDING}. */
  #pending: Pending[] = []

  constructor(peer: PeerName, slot: number, fragments: number) {
    this.peer = peer
    this.slot = slot
    this.#sequences = Array.from({ length: fragments }, () => STALE)
  }

  /** A difference came. One of another generation than before makes everything known of its author worthless. */
  take({ generation, sequence, energy, bytes }: Difference, fragment: Fragment): void {
    if (generation !== this.generation) {
      this.fresh = this.generation === undefined && generation === 1
      this.#renew(generation)
      if (this.fresh) {
        this.#sequences.fill(0)
      }
    }
    const known = this.#sequences[fragment.index]!
    const same = this.#pending.some((each) => each.fragment.index === fragment.index && each.sequence === sequence)
    if (sequence <= known || same) {
      return
    }
    this.#pending.push({ fragment, sequence, energy, bytes })
    if (this.#pending.length > MAX_PENDING) {
      this.#pending.shift()
    }
  }

  /** Takes out the next differences that can be added now, at most one of each fragment and `most` in all. */
  next(most: number): Pending[] {
    const found: Pending[] = []
    for (const each of this.#pending) {
      const { index } = each.fragment
      const fits = each.sequence === this.#sequences[index]! + 1 && this.#sequences[index] !== STALE
      if (fits && found.length < most && !found.some(({ fragment }) => fragment.index === index)) {
        found.push(each)
      }
    }
    this.#pending = this.#pending.filter((each) => !found.includes(each))
    return found
  }

  /** A difference was added, in that generation. */
  followed(generation: number | undefined, { fragment, sequence }: Pending): void {
    if (generation === this.generation && this.#sequences[fragment.index] === sequence - 1) {
      this.#reached(fragment.index, sequence)
    }
  }

  /** The fragment is to be fetched. */
  spoil(index: number): void {
    this.#sequences[index] = STALE
    this.#gaps.delete(index)
  }

  /** Fragments of which a difference has been missing for so long that it will not come any more become stale. */
  expire(now: number, patience: number): void {
    for (const { fragment, sequence } of this.#pending) {
      const { index } = fragment
      const known = this.#sequences[index]!
      if (known === STALE || sequence === known + 1) {
        this.#gaps.delete(index)
      } else if (!this.#gaps.has(index)) {
        this.#gaps.set(index, now)
      }
    }
    for (const [index, since] of this.#gaps) {
      if (now - since >= patience) {
        this.spoil(index)
      }
    }
  }

  /** A fragment to be fetched; undefined when there is none, or nothing is known of the author yet. */
  stale(): number | undefined {
    const index = this.generation === undefined ? -1 : this.#sequences.indexOf(STALE)
    return index < 0 ? undefined : index
  }

  /** The fragment was fetched. */
  landed(index: number, generation: number, sequence: number): void {
    if (generation !== this.generation) {
      this.#renew(generation)
    }
    this.#reached(index, sequence)
    this.#gaps.delete(index)
  }

  /** Whether the fragment is what its author's is, as far as is known. */
  isReady(index: number): boolean {
    const late = this.#pending.some(({ fragment }) => fragment.index === index)
    return !this.fresh && this.#sequences[index] !== STALE && !late
  }

  /** What waits and is contained now, copies among it, is forgotten. */
  #reached(index: number, sequence: number): void {
    this.#sequences[index] = sequence
    this.#pending = this.#pending.filter((each) => each.fragment.index !== index || each.sequence > sequence)
  }

  #renew(generation: number): void {
    this.generation = generation
    this.#sequences.fill(STALE)
    this.#gaps.clear()
    this.#pending = []
  }
}
