/** Who is here, from what was heard and when, on this peer's clock alone: what other peers' clocks show plays no part. */
import type { Member, PeerName } from '../ports.ts'
import type { Heartbeat } from './heartbeat.ts'
import { silentAfter } from './pace.ts'

interface Record extends Heartbeat {
  seenAt: number
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
    this.#records.set(peer, { ...heartbeat, seenAt: now })
    if (status.phase === 'leaving') {
      return wasLive ? 'left' : 'stale'
    }
    if (!wasLive) {
      return 'joined'
    }
    return known.status.incarnation === status.incarnation ? 'known' : 'restarted'
  }

  /** Live members, sorted by name. */
  members(now: number): Member[] {
    const members: Member[] = []
    for (const [peer, record] of this.#records) {
      if (this.#isLive(record, now)) {
        members.push({ peer, seenAt: record.seenAt, status: record.status })
      }
    }
    return members.sort((a, b) => (a.peer < b.peer ? -1 : 1))
  }

  /** Whether a peer was heard lately and has not left. */
  isLive(peer: PeerName, now: number): boolean {
    const record = this.#records.get(peer)
    return record !== undefined && this.#isLive(record, now)
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
