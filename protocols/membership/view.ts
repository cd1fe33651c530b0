/** Who is here, from what was heard and when, on this peer's clock alone: what other peers' clocks show plays no part. */
import type { Member, PeerName } from '../ports.ts'
import type { Heartbeat } from './heartbeat.ts'
import { silentAfter } from './pace.ts'

/** A member and the heartbeat that it was last heard by. Replaced by the next one, never changed. */
interface Record extends Member {
  sequence: number
  interval: number
}

/** What a heartbeat changed. `known` is a live member that said something new of itself. */
export type Heard = 'joined' | 'restarted' | 'known' | 'left' | 'stale' | 'full'

/** Members by their heartbeats. */
export class MemberView {
  /**
   * Everyone heard of, silent ones too, so that an old heartbeat cannot bring a member back. At most `maxMembers`; the longest
   * silent makes room, and while all are live a newcomer is not let in.
   */
  readonly #records = new Map<PeerName, Record>()
  readonly #maxMembers: number
  /** Names in {@link MemberView.#records}, sorted; undefined after one came or went. */
  #names: PeerName[] | undefined
  /** The live members, handed out until one of them changes or falls silent: whoever looks often must not pay for all of them each time. */
  #members: readonly Member[] | undefined
  #quietUntil = Number.POSITIVE_INFINITY

  constructor(maxMembers: number) {
    this.#maxMembers = maxMembers
  }

  /** Whether a heartbeat is newer than what is known of its author. Late, repeated and overtaken ones are not. */
  isNew(peer: PeerName, incarnation: number, sequence: number): boolean {
    const known = this.#records.get(peer)
    if (known === undefined || incarnation > known.status.incarnation) {
      return true
    }
    return incarnation === known.status.incarnation && sequence > known.sequence
  }

  /** Takes in a heartbeat. */
  hear(peer: PeerName, heartbeat: Heartbeat, now: number): Heard {
    const { sequence, status } = heartbeat
    if (!this.isNew(peer, status.incarnation, sequence)) {
      return 'stale'
    }
    const known = this.#records.get(peer)
    if (known === undefined && this.#records.size >= this.#maxMembers && !this.#makeRoom(now)) {
      return 'full'
    }
    const wasLive = known !== undefined && this.#isLive(known, now)
    if (known === undefined) {
      this.#names = undefined
    }
    this.#members = undefined
    this.#records.set(peer, { peer, seenAt: now, status, sequence, interval: heartbeat.interval })
    this.#quietUntil = Math.min(this.#quietUntil, now + silentAfter(heartbeat.interval))
    if (status.phase === 'leaving') {
      return wasLive ? 'left' : 'stale'
    }
    if (!wasLive) {
      return 'joined'
    }
    return known.status.incarnation === status.incarnation ? 'known' : 'restarted'
  }

  /** Live members, sorted by name. The same array until something changes. */
  members(now: number): readonly Member[] {
    if (this.#members === undefined || now >= this.#quietUntil) {
      const members: Member[] = []
      this.#names ??= [...this.#records.keys()].sort()
      this.#quietUntil = Number.POSITIVE_INFINITY
      for (const name of this.#names) {
        const record = this.#records.get(name) as Record
        if (this.#isLive(record, now)) {
          members.push(record)
          this.#quietUntil = Math.min(this.#quietUntil, record.seenAt + silentAfter(record.interval))
        }
      }
      this.#members = members
    }
    return this.#members
  }

  /** No member falls silent before that, ms on this peer's clock. */
  get quietUntil(): number {
    return this.#quietUntil
  }

  /** What a peer was last heard saying, live or not. */
  get(peer: PeerName): Member | undefined {
    return this.#records.get(peer)
  }

  /** Number of records, live or not. */
  get size(): number {
    return this.#records.size
  }

  #isLive(record: Record, now: number): boolean {
    return record.status.phase !== 'leaving' && now - record.seenAt < silentAfter(record.interval)
  }

  #makeRoom(now: number): boolean {
    let longest: PeerName | undefined
    let since = Number.POSITIVE_INFINITY
    for (const [peer, record] of this.#records) {
      if (!this.#isLive(record, now) && record.seenAt < since) {
        longest = peer
        since = record.seenAt
      }
    }
    return longest !== undefined && this.#records.delete(longest)
  }
}
