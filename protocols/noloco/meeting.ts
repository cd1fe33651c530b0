/** What the two sides of an exchange share: its terms, and the moves that both of them make. See exchange.ts. */
import { StarlingError } from '../errors.ts'
import type { ExchangeFailure } from '../events.ts'
import type { Learner, PeerName } from '../ports.ts'
import { MAX_CLAIMED_ROUND } from '../replica/index.ts'
import type { BlobReference, Blobs } from '../transfer/index.ts'
import { isMember } from './doubt.ts'
import type { Ledger, Outcome, PreparedExchange } from './ledger.ts'
import type { ExchangeSwarm } from './messages.ts'
import { type Reach, shareOf } from './reach.ts'
import { inspectTask, type TensorOptions } from './tasks.ts'

/** How a round's meeting ended. */
export type Meeting = Together | Alone

export interface Together {
  outcome: 'committed'
  partner: PeerName
  disagreement: number
  codingError: number
  /** Of the way to the partner's message; see reach.ts. */
  share: number
  bytesSent: number
  bytesReceived: number
}

export interface Alone {
  outcome: 'alone'
  reason: ExchangeFailure
  /** The state is on disk under this round already. */
  prepared: boolean
  /** Where a partner that is ahead is. */
  partnerRound?: number
}

/** A partner answers within a moment, or says that it is not there yet; after so long without a word, ms, there is something to tell. */
const QUIET = 1_000

/** Reason of our own: the usual one is an error with a stack, which costs more than the question. */
const ANSWERED = 'answered'

/** Moments of an exchange, for tests that stop a peer at each of them and for the log. */
export type ExchangePhase =
  | 'encoded'
  | 'proposing'
  | 'accepted'
  | 'received'
  | 'inspected'
  | 'prepared'
  | 'asking'
  | 'deciding'
  | 'committed'

export interface ExchangeModules {
  swarm: ExchangeSwarm
  /** Has the vectors and does the tasks of tasks.ts. */
  learner: Pick<Learner, 'bytes' | 'compute'>
  blobs: Blobs
  ledger: Ledger
  tensor: TensorOptions
  reach: Reach
  partnerOf(round: number): PeerName | undefined
  viewHash(): string
  onRejected(peer: PeerName, reason: string): void
  onWaiting(peer: PeerName): void
  onPhase?: ((phase: ExchangePhase) => void | Promise<void>) | undefined
}

/** The round that this peer is in, and whom it meets there. */
export interface Appointment {
  readonly round: number
  readonly step: number
  readonly partner: PeerName
  /** This peer's tensor, on offer, and the relative error of its code. */
  readonly mine: BlobReference
  readonly codingError: number
  /** How far away the partner's message may be to count whole. */
  readonly reach: number
  /** Id of the exchange, where this peer initiates it. */
  readonly id: string
  /** The partner's proposal, where this peer responds to it. */
  session?: Session
  /** The partner is known not to come. */
  refusal?: Alone
  /** That this peer waits has been reported. */
  told: boolean
}

/** The partner's tensor, and how far away ours may be to count whole. */
export interface Offered extends BlobReference {
  reach: number
}

/** A tensor that came and was found good. */
export interface Received {
  disagreement: number
  share: number
}

/** The responder's side of an exchange under way. */
export interface Session {
  readonly id: string
  readonly theirs: Offered
  state: 'checking' | 'ready' | 'deciding' | Outcome
}

export function alone(reason: ExchangeFailure, more: { prepared?: boolean; partnerRound?: number } = {}): Alone {
  return { outcome: 'alone', reason, prepared: false, ...more }
}

export function together({ partner, mine, codingError }: Appointment, received: Received): Together {
  return { outcome: 'committed', partner, ...received, codingError, bytesSent: mine.size, bytesReceived: mine.size }
}

/** The end of a meeting with a partner that says it will not come; undefined when it says anything else. */
export function refusalIn(
  said: { status: 'ahead'; round: number } | { status: 'mismatch' | 'accepted' | 'later' | 'coming' },
): Alone | undefined {
  if (said.status === 'ahead') {
    return alone('partner-ahead', said.round <= MAX_CLAIMED_ROUND ? { partnerRound: said.round } : {})
  }
  return said.status === 'mismatch' ? alone('view-mismatch') : undefined
}

/** Why a partner is not waited for any longer, with `left` ms to go. */
export function gone(
  swarm: ExchangeSwarm,
  partner: PeerName,
  left: number,
  signal: AbortSignal,
): ExchangeFailure | undefined {
  if (signal.aborted) {
    return 'aborted'
  }
  if (!isMember(swarm, partner)) {
    return 'partner-lost'
  }
  return left <= 0 ? 'partner-late' : undefined
}

/** Reports, once, that the partner is waited for. */
export function tellWaiting({ onWaiting }: ExchangeModules, appointment: Appointment): void {
  if (!appointment.told) {
    appointment.told = true
    onWaiting(appointment.partner)
  }
}

/** The answer of the partner; one that says nothing for {@link QUIET} is waited for. */
export async function answerOf(
  modules: ExchangeModules,
  appointment: Appointment,
  asked: Promise<Uint8Array>,
): Promise<Uint8Array> {
  const answered = new AbortController()
  modules.swarm.clock.sleep(QUIET, answered.signal).then(
    () => tellWaiting(modules, appointment),
    () => undefined,
  )
  try {
    return await asked
  } finally {
    answered.abort(ANSWERED)
  }
}

/** Fetches the partner's tensor into the inbox and looks at it. */
export async function receive(
  { swarm, learner, blobs, tensor, reach, onPhase, onRejected }: ExchangeModules,
  { partner, mine, reach: ours }: Appointment,
  theirs: Offered,
  signal: AbortSignal,
): Promise<Received | Alone> {
  if (theirs.size !== mine.size) {
    onRejected(partner, `its tensor has ${theirs.size} bytes instead of ${mine.size}`)
    return alone('bad-tensor')
  }
  try {
    await blobs.pull([partner], { root: theirs.root, size: theirs.size }, learner.bytes('inbox'), { signal })
  } catch (error) {
    if (signal.aborted) {
      return alone('aborted')
    }
    if (!(error instanceof StarlingError)) {
      throw error
    }
    return alone('partner-lost')
  }
  await onPhase?.('received')
  const { fault, disagreement, distance } = await learner.compute(inspectTask, tensor)
  if (Number.isFinite(distance)) {
    reach.note(partner, distance)
  }
  if (fault !== undefined) {
    // To be far away proves nothing.
    if (fault.reason === 'bad-tensor') {
      swarm.penalize(partner, fault.reason)
    }
    onRejected(partner, fault.message)
    return alone(fault.reason)
  }
  await onPhase?.('inspected')
  return { disagreement, share: shareOf(distance, Math.min(ours, theirs.reach)) }
}

/** Puts the state from before the step on disk, with what the step depends on. */
export async function prepare(
  { ledger, onPhase }: ExchangeModules,
  { round, step, partner }: Appointment,
  exchange: Omit<PreparedExchange, 'partner'>,
): Promise<void> {
  await ledger.prepare({ round, step, exchange: { ...exchange, partner } })
  await onPhase?.('prepared')
}
