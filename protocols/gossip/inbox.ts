/** Fragments that have come and are not mixed yet, by turn, in slots of one shared vector: nothing that is sent here takes more memory than that. */
import type { PeerName, Random } from '../ports.ts'
import { GROUP } from './tasks.ts'

/** Groups that are collected at once; the oldest makes room. */
const MAX_GROUPS = 16

/** One fragment, or the place of one that is still being pulled. */
export interface Entry {
  readonly peer: PeerName
  readonly turn: number
  readonly slot: number
  /** The receiver's own dice: who stays where more come than a group holds. */
  readonly draw: number
  /** It is whole. */
  ready: boolean
  /** Ends what still works on the slot, a pull or an offer; the slot is free when that has settled. */
  end?: () => Promise<unknown>
}

export class Inbox {
  readonly #free: number[]
  readonly #random: Random
  /** By turn, at most {@link MAX_GROUPS} of at most {@link GROUP} peers. */
  readonly #groups = new Map<number, Map<PeerName, Entry>>()

  constructor(slots: number, random: Random) {
    this.#free = Array.from({ length: slots }, (_, i) => i)
    this.#random = random
  }

  /**
   * A place for a peer's fragment; undefined where it has one in this turn already, where the group is full and the dice fall for the others (so that
   * who sends first, or oftenest, has no better chance), and where older groups take no less than all of the memory.
   */
  claim(turn: number, peer: PeerName): Entry | undefined {
    const group = this.#groups.get(turn) ?? new Map<PeerName, Entry>()
    if (group.has(peer)) {
      return undefined
    }
    const draw = this.#random.uniform()
    const last = [...group.values()].reduce<Entry | undefined>(
      (most, each) => (most === undefined || each.draw > most.draw ? each : most),
      undefined,
    )
    if (group.size >= GROUP && last !== undefined) {
      if (last.draw < draw) {
        return undefined
      }
      group.delete(last.peer)
      this.release([last])
    }
    const oldest = this.turns()[0]
    if (oldest !== undefined && oldest < turn && (this.#free.length === 0 || this.#groups.size >= MAX_GROUPS)) {
      this.release(this.take(oldest).all)
    }
    const slot = this.#free.pop()
    if (slot === undefined) {
      return undefined
    }
    const entry: Entry = { peer, turn, slot, draw, ready: false }
    group.set(peer, entry)
    this.#groups.set(turn, group)
    return entry
  }

  /** Turns with a group, oldest first. */
  turns(): number[] {
    return [...this.#groups.keys()].sort((a, b) => a - b)
  }

  /** Peers whose fragment of that turn is whole. */
  ready(turn: number): number {
    return [...(this.#groups.get(turn)?.values() ?? [])].filter(({ ready }) => ready).length
  }

  /** Takes a group out. Its slots stay taken until {@link Inbox.release}. */
  take(turn: number): { all: Entry[]; whole: Entry[] } {
    const all = [...(this.#groups.get(turn)?.values() ?? [])]
    this.#groups.delete(turn)
    return { all, whole: all.filter(({ ready }) => ready) }
  }

  /** Gives up one entry, if its group has not been taken out meanwhile. */
  drop(entry: Entry): void {
    const group = this.#groups.get(entry.turn)
    if (group?.get(entry.peer) === entry) {
      group.delete(entry.peer)
      this.release([entry])
    }
  }

  /** Frees the slots of entries that were taken out, as soon as nothing works on them any more. */
  release(entries: readonly Entry[]): void {
    for (const entry of entries) {
      const { end } = entry
      if (end === undefined) {
        this.#free.push(entry.slot)
      } else {
        void end().finally(() => this.#free.push(entry.slot))
      }
    }
  }
}
