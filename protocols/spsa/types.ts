/** What the parts of the strategy `spsa` say to each other about contributions. Plain data; how it travels is in log/messages.ts. */
import type { PeerName } from '../ports.ts'

/** How many contributions of each author a set holds. Each author's contributions are a prefix of steps 1, 2, 3, ..., so this names the set. */
export type VersionVector = ReadonlyMap<PeerName, number>

/** Some consecutive contributions of one author, up to a head that the author signed. */
export interface Segment {
  author: PeerName
  /** Step of the first byte; steps count from 1. */
  from: number
  /** One byte per contribution (byte.ts), steps `from`, `from + 1`, ... */
  bytes: Uint8Array
  /** Ed25519 signature of the author over the chain's head after the last byte (log/chain.ts), 64 bytes. */
  signature: Uint8Array
}

/** What happened to the set. An author is removed as a whole, from its first step. */
export type Change = { kind: 'added' | 'removed'; author: PeerName; from: number; bytes: Uint8Array }

/** One of the two histories in an {@link EquivocationProof}: bytes from the proof's step on, and the signature over the head after them. */
export interface Branch {
  bytes: Uint8Array
  signature: Uint8Array
}

/** Evidence that an author signed two different bytes for one step. */
export interface EquivocationProof {
  author: PeerName
  /** The step at which the histories part; the first bytes of the branches differ. */
  step: number
  /** Chain after `step` - 1, 32 bytes. */
  before: Uint8Array
  branches: readonly [Branch, Branch]
}

/** Why a segment was not taken. */
export type RefusalReason =
  | 'bad-segment' // no bytes, a signature of another length, a step below 1, a name that is none
  | 'bad-byte' // 0x80 is no contribution
  | 'bad-signature' // forged, or signed on top of another history than the one held: see log/sync.ts
  | 'beyond-steps' // more contributions than the run has
  | 'too-many-authors' // the log holds as many authors as it may
  | 'equivocation' // it proved, with what was held, that its author signed two histories
  | 'excluded' // its author was excluded before

/**
 * What became of a segment: taken (`added` counts the new contributions, 0 for a repetition), refused, or not joined to what is held (`gap`), in
 * which case nothing can be said of it.
 */
export type Acceptance = { added: number } | { refused: RefusalReason } | { gap: true }

/** The set of a run's contributions as this peer holds it, on disk and in memory. Made by `createLog`. */
export interface ContributionLog {
  /** Loads and verifies what an earlier process left; nothing else may be called before it resolves. */
  open(): Promise<void>
  /** Authors that count and their numbers of contributions; excluded ones are not in it. A snapshot. */
  version(): VersionVector
  /** Contributions in all. */
  readonly count: number
  /** Names the set and the excluded authors, 32 bytes: equal exactly when both are equal (log/set-digest.ts). A new array after every change. */
  digest(): Uint8Array
  /** An author's contributions; a view that is good until the log changes. Empty for an unknown author. */
  bytesOf(author: PeerName): Uint8Array
  /** Chain after an author's last contribution, 32 bytes; undefined for an unknown author. */
  headOf(author: PeerName): Uint8Array | undefined
  /** Excluded authors and why; grows only. */
  excluded(): ReadonlyMap<PeerName, EquivocationProof>
  /**
   * Adds this peer's own contributions for the steps from `from` on; signed and on disk when it resolves, and only then part of the set. Throws
   * StarlingError 'own-log-moved' when `from` is not the next own step (this peer's own earlier contributions came back from others),
   * 'own-log-damaged' before {@link trustOwn} when the own records did not fit, 'excluded', and 'beyond-steps'.
   */
  append(bytes: Uint8Array, from: number): Promise<Segment>
  /** Checks a segment from anyone and takes what is new in it. */
  accept(segment: Segment): Promise<Acceptance>
  /**
   * An author's contributions from `from` up to its signed head. Undefined when there are none, or more than `limit`: only a head carries a
   * signature, so that a segment cannot end earlier.
   */
  segmentOf(author: PeerName, from: number, limit: number): Segment | undefined
  /** Checks a proof and excludes its author; false when it proves nothing. True also for an author already excluded. */
  accuse(proof: EquivocationProof): Promise<boolean>
  /** Called after every change of the set, one change at a time; returns how to stop that. */
  onChange(listener: (change: Change) => void): () => void
  /** Own records were found damaged and the own history has not come back from others yet. */
  readonly ownDamaged: boolean
  /** Says that others were asked for the own history, so that contributing is safe again. */
  trustOwn(): void
  /**
   * Writes what was accepted from others and is not on disk yet. Call before a checkpoint of sums that hold it. A kill loses at most what came
   * since the last flush, and others have it.
   */
  flush(): Promise<void>
}
