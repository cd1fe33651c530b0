/** The few last events that say what a node is at; folded from its own events as they happen. */
import type { ExchangeFailure, PeerName, StrategyEvent } from '../../protocols/index.ts'
import type { NetworkEvent, RejectReason } from '../network/index.ts'
import type { NodeEvent } from '../types.ts'

/** What is waited for, of which kind, and since when (milliseconds since the epoch). */
export interface Waiting {
  what: NonNullable<Extract<StrategyEvent, { kind: 'waiting' }>['what']> | 'other'
  /** In words. */
  for: string
  peer?: PeerName
  since: number
}

/** A peer that was refused, or that refused this one. */
export interface Refusal {
  peer: PeerName
  detail: string
  time: number
}

/** Events that end whatever was waited for. */
const PROGRESS: ReadonlySet<NodeEvent['kind']> = new Set([
  'step',
  'exchange',
  'exchange-skipped',
  'mixed',
  'joined',
  'stage-taken',
  'started',
  'resumed',
  'trainer-restarted',
  'finished',
  'final',
  'final-elsewhere',
])

/** Reasons that keep a stranger from becoming a peer; faults of peers are another matter. */
export const STRANGERS: ReadonlySet<string> = new Set<RejectReason>([
  'banned',
  'not-admitted',
  'other-run',
  'other-version',
  'no-protocol',
])

export class Situation {
  /** The data folder was opened then. */
  readonly begun: number
  waiting: Waiting | undefined
  /** The last exchange that went through, and the last that did not with how many in a row did not. */
  exchanged: { partner: PeerName; round: number; time: number } | undefined
  skipped: { partner?: PeerName; round: number; reason: ExchangeFailure; time: number; inRow: number } | undefined
  /** The last training step that was told of, and how long one takes, milliseconds. */
  step: { time: number; milliseconds: number } | undefined
  trainer: { state: 'starting' | 'running' | 'restarting'; since: number; message?: string }
  /** The member that went last. */
  departed: { peer: PeerName; reason: 'silent' | 'leaving'; time: number } | undefined
  /** It took over the state of that peer, or began the run itself. */
  joined: { donor?: PeerName; time: number } | undefined
  stopping: { reason: string; time: number } | undefined
  ended: number | undefined
  /** Why strangers did not become peers, the last of each reason; as many as there are reasons. */
  readonly refusals = new Map<RejectReason, Refusal>()

  constructor(begun: number) {
    this.begun = begun
    this.trainer = { state: 'starting', since: begun }
  }

  /** Folds one event of this node in; those of others are none of its business. */
  observe(event: NodeEvent): void {
    const { time } = event
    if (PROGRESS.has(event.kind)) this.waiting = undefined
    switch (event.kind) {
      case 'waiting':
        this.waiting = {
          what: event.what ?? 'other',
          for: event.for,
          since: time,
          ...(event.about === undefined ? {} : { peer: event.about }),
        }
        return
      case 'step':
        this.step = { time, milliseconds: event.milliseconds }
        return
      case 'exchange':
        this.exchanged = { partner: event.partner, round: event.round, time }
        this.skipped = undefined
        return
      case 'exchange-skipped': {
        const { partner, round, reason } = event
        const inRow = (this.skipped?.inRow ?? 0) + 1
        this.skipped = { round, reason, time, inRow, ...(partner === undefined ? {} : { partner }) }
        return
      }
      case 'joined':
        this.joined = { time, ...(event.donor === undefined ? {} : { donor: event.donor }) }
        return
      case 'started':
      case 'trainer-restarted':
        this.trainer = { state: 'running', since: time }
        return
      case 'trainer-crashed':
        this.trainer = { state: 'restarting', since: time, message: event.message }
        return
      case 'member-left':
        this.departed = { peer: event.member, reason: event.reason, time }
        return
      case 'finished':
        this.ended = time
        return
      case 'stopping':
        this.stopping = { reason: event.reason, time }
        return
    }
  }

  /** Folds in what happened on the wire at `time`. */
  network(event: NetworkEvent, time: number): void {
    if (event.kind === 'connected') {
      for (const [reason, { peer }] of this.refusals) if (peer === event.peer) this.refusals.delete(reason)
    } else if (event.kind === 'rejected' && STRANGERS.has(event.reason)) {
      this.refusals.set(event.reason, { peer: event.peer, detail: event.detail, time })
    }
  }
}
