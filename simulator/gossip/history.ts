/** What one router remembers of messages: which are known, which it can still give, which it asked for and which others decline. */
import type { PeerName } from '../../protocols/index.ts'
import type { GossipCopy } from './frames.ts'
import type { GossipParameters } from './parameters.ts'

/** A message that can still be asked for. */
interface Kept extends GossipCopy {
  /** How often each peer asked. */
  asked: Map<PeerName, number>
}

export class History {
  readonly #parameters: GossipParameters
  /** Until when an id counts as known, oldest first. Bounded by what is published within `seenFor`. */
  readonly #seen = new Map<number, number>()
  /** Bounded by what is published within `historyLength` heartbeats. */
  readonly #kept = new Map<number, Kept>()
  /** Ids in {@link History.#kept} by heartbeat, the present one first. */
  readonly #windows: number[][] = [[]]
  /** Ids asked for, with the heartbeat of the question; forgotten after `historyLength` more. */
  readonly #wanted = new Map<number, number>()
  /** Ids that a peer does not want, with the heartbeat in which it said so; forgotten likewise. */
  readonly #declined = new Map<PeerName, Map<number, number>>()
  #ticks = 0

  constructor(parameters: GossipParameters) {
    this.#parameters = parameters
  }

  has(id: number): boolean {
    return this.#seen.has(id)
  }

  /** Notes that a message has come, valid or not. */
  see(id: number, now: number): void {
    this.#seen.set(id, now + this.#parameters.seenFor)
  }

  /** Keeps a valid message for those who ask. */
  keep(copy: GossipCopy): void {
    this.#kept.set(copy.news.id, { ...copy, asked: new Map() })
    this.#windows[0]?.push(copy.news.id)
  }

  want(id: number): void {
    this.#wanted.set(id, this.#ticks)
  }

  /** Whether the message that came was asked for; only once. */
  fulfil(id: number): boolean {
    return this.#wanted.delete(id)
  }

  decline(peer: PeerName, id: number): void {
    const declined = this.#declined.get(peer) ?? new Map<number, number>()
    this.#declined.set(peer, declined.set(id, this.#ticks))
  }

  declines(peer: PeerName, id: number): boolean {
    return this.#declined.get(peer)?.has(id) === true
  }

  /** A copy for a peer that asks for one; undefined when it is gone, declined, or was given often enough. */
  take(peer: PeerName, id: number): GossipCopy | undefined {
    const kept = this.#kept.get(id)
    if (kept === undefined || this.declines(peer, id)) {
      return undefined
    }
    const times = (kept.asked.get(peer) ?? 0) + 1
    kept.asked.set(peer, times)
    return times > this.#parameters.retransmissions ? undefined : { news: kept.news, hops: kept.hops + 1 }
  }

  /** Ids of a topic to tell others of. */
  recent(topic: string): number[] {
    const windows = this.#windows.slice(0, this.#parameters.historyGossip).flat()
    return windows.filter((id) => this.#kept.get(id)?.news.topic === topic)
  }

  forgetPeer(peer: PeerName): void {
    this.#declined.delete(peer)
  }

  /** Ends a heartbeat: what is too old is forgotten. */
  shift(now: number): void {
    this.#ticks++
    this.#windows.unshift([])
    const { historyLength } = this.#parameters
    for (const window of this.#windows.splice(historyLength)) {
      for (const id of window) {
        this.#kept.delete(id)
      }
    }
    for (const [id, until] of this.#seen) {
      if (until > now) {
        break
      }
      this.#seen.delete(id)
    }
    for (const ids of [this.#wanted, ...this.#declined.values()]) {
      for (const [id, tick] of ids) {
        if (this.#ticks - tick >= historyLength) {
          ids.delete(id)
        }
      }
    }
  }
}
