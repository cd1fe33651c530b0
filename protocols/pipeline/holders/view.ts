/** What a peer knows of the others' parts, from what they said and whether they can be reached. Times are those of its own clock. */
import type { PeerName } from '../../ports.ts'
import { AnswerTimes } from './answer-times.ts'
import type { PeerRoles } from './assignment.ts'
import { Lost } from './lost.ts'
import { type Hold, QUICK_TIMEOUT, type Statement } from './messages.ts'

/** Peers remembered, the silent ones included. */
const MAX_PEERS = 1_024

/** A statement may be late by this much, ms, and some may get lost. */
const LATE = 1_000
const PATIENCE_INTERVALS = 2.5

/** After so many intervals without a statement a peer is asked whether it lives: a busy machine may be slow to speak and still answer. */
const LATE_INTERVALS = 1.5

/** A statement that comes so long after its author could not be reached, ms, was said after that. */
const AFTERLIFE = 1_500

/** How long somebody who takes a part is waited for, ms, beside {@link SLOWEST}. */
const TAKING_PATIENCE = 4_000

/** Least rate at which a part is expected to come, bytes per ms (8 Mbit/s). */
const SLOWEST = 1_000

/** Ends are at most so many steps ahead of what was last heard of the stages. */
export const AHEAD = 100

/** A part from this peer's own checkpoint is taken up again where it is at most so many steps behind the run; otherwise others have more to give. */
export const KEPT_SLACK = 100

interface Entry {
  statement: Statement
  heardAt: number
  /** Seen connected with this peer. */
  connected: boolean
  /** A question whether it lives is under way. */
  doubted: boolean
  /** When it could not be reached; undefined where it could, or was not asked. */
  goneAt: number | undefined
  /** Since when it has held a part in its present state. */
  since: Map<number, { state: Hold['state']; at: number }>
}

/** What a statement changed: nothing that others wait for, or who holds what. */
export type Heard = 'stale' | 'same' | 'changed' | 'restarted'

/** Options of {@link StageView}. */
export interface ViewOptions {
  self: PeerName
  stages: number
  /** Bytes of the parameters of a part. */
  bytesOf(part: number): number
}

export class StageView {
  readonly #options: ViewOptions
  /** By peer, this one included. At most {@link MAX_PEERS}: the longest silent makes room, and while all speak a newcomer is not let in. */
  readonly #entries = new Map<PeerName, Entry>()
  /** What data peers could not use. */
  readonly #lost: Lost
  /** How long the others take to say that they live. */
  readonly answers = new AnswerTimes()

  constructor(options: ViewOptions) {
    this.#options = options
    this.#lost = new Lost(options.stages)
  }

  /** Takes in what a peer says of itself. */
  hear(peer: PeerName, statement: Statement, now: number): Heard {
    const known = this.#entries.get(peer)
    if (known !== undefined && !isNewer(statement, known.statement)) {
      return 'stale'
    }
    if (known === undefined && this.#entries.size >= MAX_PEERS && !this.#makeRoom(now)) {
      return 'stale'
    }
    const restarted = known !== undefined && statement.incarnation > known.statement.incarnation
    const entry: Entry =
      known === undefined || restarted
        ? { statement, heardAt: now, connected: false, doubted: false, goneAt: undefined, since: new Map() }
        : known
    const before = known === undefined || restarted ? undefined : known.statement
    const revived = entry.goneAt !== undefined && now - entry.goneAt > AFTERLIFE
    const back = before !== undefined && now - entry.heardAt >= this.#silentAfter(peer, before, now)
    if (revived) {
      entry.goneAt = undefined
    }
    entry.statement = statement
    entry.heardAt = now
    for (const { part, state } of statement.holds) {
      if (entry.since.get(part)?.state !== state) {
        entry.since.set(part, { state, at: now })
      }
    }
    for (const part of entry.since.keys()) {
      if (!statement.holds.some((hold) => hold.part === part)) {
        entry.since.delete(part)
      }
    }
    this.#entries.set(peer, entry)
    if (statement.lost.length > 0) {
      this.#lost.note(this.#believedLost(now), now)
    }
    if (restarted) {
      return 'restarted'
    }
    return revived || back || before === undefined || shape(before) !== shape(statement) ? 'changed' : 'same'
  }

  /** Whether a statement is newer than what is known of its author. */
  isNew(peer: PeerName, statement: Statement): boolean {
    const known = this.#entries.get(peer)
    return known === undefined || isNewer(statement, known.statement)
  }

  statement(peer: PeerName): Statement | undefined {
    return this.#entries.get(peer)?.statement
  }

  /**
   * The newest step that somebody claims, dead or alive; where several claim one, the highest of all but one of them, so that one liar takes nobody along. 0 where nobody
   * has gone through a step.
   */
  newestStep(): number {
    const steps = [...this.#entries.values()]
      .map(({ statement: { holds, keeps = 0 } }) => Math.max(keeps, ...holds.map(({ step }) => step), 0))
      .filter((step) => step > 0)
      .sort((a, b) => b - a)
    return steps[1] ?? steps[0] ?? 0
  }

  /** The step at which the stages are: the lower middle one of what their holders say. Undefined without holders. */
  stageStep(now: number): number | undefined {
    const steps: number[] = []
    for (const [peer, entry] of this.#entries) {
      if (this.#lives(peer, entry, now)) {
        steps.push(
          ...entry.statement.holds.filter(({ part, state }) => part > 0 && state === 'ready').map(({ step }) => step),
        )
      }
    }
    return steps.sort((a, b) => a - b)[(steps.length - 1) >> 1]
  }

  /** Living peers of which nothing was heard for longer than they said. */
  late(now: number): PeerName[] {
    return this.peers(now).filter((peer) => {
      const { heardAt, statement } = this.#entries.get(peer)!
      return peer !== this.#options.self && now - heardAt > LATE_INTERVALS * statement.interval
    })
  }

  /** Living peers that keep a copy of the ends, the newest first. */
  keepers(now: number): { peer: PeerName; step: number }[] {
    return this.peers(now)
      .flatMap((peer) => {
        const step = this.#entries.get(peer)!.statement.keeps
        return step === undefined ? [] : [{ peer, step }]
      })
      .sort((a, b) => b.step - a.step || (a.peer < b.peer ? -1 : 1))
  }

  /** Takes in who is connected with this peer now. Returns who was before and is not any more: it may have died, or only have let go. */
  connections(connected: readonly PeerName[]): PeerName[] {
    const now = new Set(connected)
    const lost: PeerName[] = []
    for (const [peer, entry] of this.#entries) {
      if (entry.connected && !now.has(peer)) {
        lost.push(peer)
      }
      entry.connected = now.has(peer)
      if (entry.connected) {
        // What a new connection is worth is seen when it is used.
        entry.goneAt = undefined
      }
    }
    return lost
  }

  /** A peer is being asked whether it lives; it is not used meanwhile. */
  doubt(peer: PeerName): void {
    const entry = this.#entries.get(peer)
    if (entry !== undefined) {
      entry.doubted = true
    }
  }

  /** It answered, or did not. */
  settle(peer: PeerName, lives: boolean, now: number): void {
    const entry = this.#entries.get(peer)
    if (entry !== undefined) {
      entry.doubted = false
      entry.goneAt = lives ? undefined : now
      entry.heardAt = lives ? now : entry.heardAt
    }
  }

  /** Whether a peer speaks and was not found gone since. */
  lives(peer: PeerName, now: number): boolean {
    const entry = this.#entries.get(peer)
    return entry !== undefined && this.#lives(peer, entry, now)
  }

  /** Every peer that lives, sorted. */
  peers(now: number): PeerName[] {
    return [...this.#entries]
      .filter(([peer, entry]) => this.#lives(peer, entry, now))
      .map(([peer]) => peer)
      .sort()
  }

  /** What the assignment is made from. */
  roles(now: number): PeerRoles[] {
    const lost = this.#believedLost(now)
    const newest = this.newestStep()
    return this.peers(now).map((peer) => {
      const { statement, since } = this.#entries.get(peer)!
      return {
        peer,
        places: statement.places,
        msPerRow: statement.msPerRow,
        holds: statement.holds.filter(
          ({ part, state }) => state !== 'taking' || this.#waitsFor(peer, part, since, now),
        ),
        kept: statement.kept.filter(({ step }) => step + KEPT_SLACK >= newest),
        barred: lost.get(peer) ?? [],
      }
    })
  }

  /** Who says that it holds a part ready, lives, and is not in doubt or believed lost; in no order. */
  holders(part: number, now: number): { peer: PeerName; hold: Hold; since: number }[] {
    const found: { peer: PeerName; hold: Hold; since: number }[] = []
    let lost: Map<PeerName, number[]> | undefined
    for (const [peer, entry] of this.#entries) {
      const hold = entry.statement.holds.find((each) => each.part === part && each.state === 'ready')
      if (hold !== undefined && !entry.doubted && this.#lives(peer, entry, now)) {
        lost ??= this.#believedLost(now)
        if (lost.get(peer)?.includes(part) !== true) {
          found.push({ peer, hold, since: entry.since.get(part)?.at ?? now })
        }
      }
    }
    return found
  }

  /** Whether data peers could not use that holder lately. */
  lostLately(part: number, peer: PeerName, now: number): boolean {
    return this.#lost.lately(part, peer, now)
  }

  /** Parts by holder that data peers cannot use, as most of them say. */
  #believedLost(now: number): Map<PeerName, number[]> {
    if ([...this.#entries.values()].every(({ statement }) => statement.lost.length === 0)) {
      return new Map()
    }
    const isDataPeer = ({ holds }: Statement): boolean =>
      holds.some(({ part, state }) => part === 0 && state === 'ready')
    const voters = [...this.#entries]
      .filter(([peer, entry]) => isDataPeer(entry.statement) && this.#lives(peer, entry, now))
      .map(([, { statement }]) => statement)
    return this.#lost.believed(voters, (peer) => this.#entries.has(peer))
  }

  #lives(peer: PeerName, entry: Entry, now: number): boolean {
    const { goneAt, heardAt, statement } = entry
    return (
      peer === this.#options.self || (goneAt === undefined && now - heardAt < this.#silentAfter(peer, statement, now))
    )
  }

  /** Whether somebody who takes a part is still waited for. */
  #waitsFor(peer: PeerName, part: number, since: Entry['since'], now: number): boolean {
    const at = since.get(part)?.at ?? now
    return peer === this.#options.self || now - at < TAKING_PATIENCE + (2 * this.#options.bytesOf(part)) / SLOWEST
  }

  /** Without a statement for so long, ms, a peer that told this interval is silent: two may get lost, and who is slow to answer has the time that it takes. */
  #silentAfter(peer: PeerName, { interval }: Statement, now: number): number {
    return PATIENCE_INTERVALS * interval + LATE + this.answers.patience(peer, now) - QUICK_TIMEOUT
  }

  #makeRoom(now: number): boolean {
    let longest: PeerName | undefined
    let since = Number.POSITIVE_INFINITY
    for (const [peer, entry] of this.#entries) {
      if (!this.#lives(peer, entry, now) && entry.heardAt < since) {
        longest = peer
        since = entry.heardAt
      }
    }
    return longest !== undefined && this.#entries.delete(longest)
  }
}

function isNewer(statement: Statement, known: Statement): boolean {
  return (
    statement.incarnation > known.incarnation ||
    (statement.incarnation === known.incarnation && statement.sequence > known.sequence)
  )
}

/** What of a statement others act on at once. */
function shape({ holds, lost, back, copies, keeps, finished, kept, places }: Statement): string {
  return JSON.stringify([
    holds.map(({ part, state }) => [part, state]),
    lost,
    back,
    copies,
    keeps !== undefined,
    finished,
    kept,
    places,
  ])
}
