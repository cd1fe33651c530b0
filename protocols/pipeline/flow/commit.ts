/** The end of a step: every holder that was used says that it has summed what it should have, and only then each takes its optimizer step. */
import { StarlingError } from '../../errors.ts'
import type { PeerName } from '../../ports.ts'
import { commitAnswer, commitQuestion, METHODS } from '../messages.ts'
import type { Hop, Path } from '../paths/types.ts'
import { lossOf } from './courier.ts'
import type { FlowParts } from './parts.ts'
import { forEach } from './signals.ts'
import { PathFailure } from './trip.ts'

/** Whole time for one question about a commit, ms: an optimizer step of a large stage, on a busy machine. */
const COMMIT_TIMEOUT = 5_000

/** How often it is asked again without an answer. An optimizer step that some have taken is not given up lightly at the others. */
const CHECK_TRIES = 2
const APPLY_TRIES = 4

/** Which step, and what everybody has of it. */
export interface Commit {
  session: number
  epoch: number
  step: number
  attempt: number
}

/** A holder that was used in a step, and the microbatches that went through it. */
export interface Share extends Hop {
  microbatches: number[]
}

/** Who was used for what. */
export function sharesOf(paths: readonly Path[]): Share[] {
  const shares = new Map<string, Share>()
  for (const [microbatch, path] of paths.entries()) {
    for (const { stage, peer } of path) {
      const key = `${stage} ${peer}`
      const share = shares.get(key) ?? { stage, peer, microbatches: [] }
      share.microbatches.push(microbatch)
      shares.set(key, share)
    }
  }
  return [...shares.values()]
}

/** A step that others have taken, and this holder may have or not: it is asked again before it is used again. */
interface Debt extends Commit {
  share: Share
}

export class Commits {
  readonly #parts: FlowParts
  /** By stage and peer; bounded by the holders of one step. */
  readonly #debts = new Map<string, Debt>()

  constructor(parts: FlowParts) {
    this.#parts = parts
  }

  /** Throws a {@link PathFailure} where anybody has summed something else; nobody has taken a step then. */
  async check(commit: Commit, shares: readonly Share[], signal: AbortSignal): Promise<void> {
    await forEach(shares, signal, (share, own) => this.#ask(commit, share, 'check', CHECK_TRIES, own))
  }

  /**
   * Everybody takes the step. Resolves to the norms of those that did, and to the failures of those that died in between: their stages are rebuilt without it, and
   * one that comes back as it was is asked again.
   */
  async apply(
    commit: Commit,
    shares: readonly Share[],
    signal: AbortSignal,
  ): Promise<{ norms: number[]; failures: PathFailure[] }> {
    const norms: number[] = []
    const failures: PathFailure[] = []
    await forEach(shares, signal, async (share, own) => {
      try {
        norms.push(await this.#ask(commit, share, 'apply', APPLY_TRIES, own))
      } catch (error) {
        if (!(error instanceof PathFailure)) {
          throw error
        }
        failures.push(error)
        if (error.reason !== 'refused') {
          this.#debts.set(`${share.stage} ${share.peer}`, { ...commit, share })
        }
      }
    })
    return { norms, failures }
  }

  /** Asks holders that owe a step and are there again. One that says no has been rebuilt meanwhile. */
  async settle(isReady: (stage: number, peer: PeerName) => boolean, signal: AbortSignal): Promise<void> {
    for (const [key, { share, ...commit }] of [...this.#debts]) {
      if (isReady(share.stage, share.peer)) {
        try {
          await this.#ask(commit, share, 'apply', 1, signal)
        } catch (error) {
          if (!(error instanceof PathFailure)) {
            throw error
          }
          if (error.reason !== 'refused') {
            continue
          }
        }
        this.#debts.delete(key)
      }
    }
  }

  async #ask(
    { session, epoch, step, attempt }: Commit,
    { stage, peer, microbatches }: Share,
    phase: 'check' | 'apply',
    tries: number,
    signal: AbortSignal,
  ): Promise<number> {
    const question = commitQuestion.encode({ session, epoch, step, attempt, stage, phase, microbatches })
    const options = { timeout: COMMIT_TIMEOUT, maxAnswer: commitAnswer.maxBytes, signal }
    for (let left = tries - 1; ; left--) {
      try {
        const answer = await this.#parts.courier.ask(peer, METHODS.commit, question, options)
        return commitAnswer.decode(answer).gradientNorm ?? 0
      } catch (error) {
        signal.throwIfAborted()
        const silent = error instanceof StarlingError && error.code === 'ask-timeout'
        if (!silent || left <= 0) {
          throw new PathFailure(stage, peer, lossOf(error))
        }
      }
    }
  }
}
