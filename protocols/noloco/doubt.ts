/** Finding out how an exchange ended: the questions that are asked again until there is an answer, and when to stop asking. */

import type { Bell } from '../bell.ts'
import { StarlingError } from '../errors.ts'
import type { PeerName } from '../ports.ts'
import type { Ledger, Outcome } from './ledger.ts'
import { type ExchangeSwarm, exchangeQuestion, METHODS, outcomeAnswer, QUESTION_TIMEOUT } from './messages.ts'

/** Pause before a question that failed is asked again, ms. */
export const RETRY = 500

/** How long a restarted peer looks for the other side of an undecided exchange, ms: a connection and two heartbeats. */
export const RESOLVE_WAIT = 10_000

/**
 * How long a responder that is a member may leave the question open, ms: by 'pending' (its transfer may be slow), by errors, or by silence. To give
 * up on 'pending' leaves no doubt: it has not decided and is not asked again. To give up on the others may leave the two apart once, which is
 * better than training that stands still for as long as a peer likes.
 */
const OPEN_LIMIT = 60_000

/** Answers to one question that make no sense, after which a responder's word is worth nothing and the exchange is given up. */
const MAX_GARBAGE = 3

/** How long a peer that is stopped stays to clear up a doubt, ms; after that the next start does. */
const STOP_GRACE = 2_000

/** Reason of the signal that ends the wait for it; the usual one is an error with a stack. */
const OVER = 'over'

interface Modules {
  swarm: ExchangeSwarm
  ledger: Ledger
}

/** An exchange and its other side. */
interface Undecided {
  id: string
  partner: PeerName
}

/**
 * Asks the responder for the commit until the outcome is known and on record. `patience`: how long the responder need not be a member
 * yet, ms. Throws StarlingError 'in-doubt' when aborted and still without an answer after {@link STOP_GRACE}.
 */
export async function askCommit(
  { swarm, ledger }: Modules,
  bell: Bell,
  { id, partner }: Undecided,
  signal: AbortSignal,
  patience = 0,
): Promise<Outcome> {
  const question = exchangeQuestion.encode({ id })
  const since = swarm.clock.now()
  const stop = new AbortController()
  const over = new AbortController()
  const onAbort = (): void =>
    void swarm.clock.sleep(STOP_GRACE, over.signal).then(
      () => stop.abort(),
      () => undefined,
    )
  signal.addEventListener('abort', onAbort, { once: true })
  if (signal.aborted) {
    onAbort()
  }
  try {
    for (let garbage = 0; ; ) {
      let outcome: Outcome | undefined
      try {
        const options = { signal: stop.signal, timeout: QUESTION_TIMEOUT }
        const said = read(
          swarm,
          partner,
          outcomeAnswer,
          await swarm.ask(partner, METHODS.commit, question, options),
        ).outcome
        // Who does not know an exchange has not decided it.
        outcome = said === 'pending' ? undefined : said === 'unknown' ? 'aborted' : said
      } catch (error) {
        garbage += expectedFailure(error) === 'bad-message' ? 1 : 0
        const left = !isMember(swarm, partner) && swarm.clock.now() - since >= patience
        if ((left || garbage >= MAX_GARBAGE) && !stop.signal.aborted) {
          outcome = 'aborted'
        }
      }
      if (outcome === undefined && !stop.signal.aborted && swarm.clock.now() - since >= OPEN_LIMIT) {
        outcome = 'aborted'
      }
      if (outcome !== undefined) {
        await ledger.decide(id, outcome)
        return outcome
      }
      if (stop.signal.aborted) {
        throw new StarlingError('in-doubt', `stopped before ${partner} said whether it took the step`, { partner })
      }
      await bell.wait(swarm.clock, RETRY, stop.signal)
    }
  } finally {
    over.abort(OVER)
    signal.removeEventListener('abort', onAbort)
  }
}

/** Whether the initiator, in doubt while this responder was away, chose to give up. False when it cannot be reached for {@link RESOLVE_WAIT}. */
export async function partnerGaveUp(
  { swarm }: Modules,
  bell: Bell,
  { id, partner }: Undecided,
  signal: AbortSignal,
): Promise<boolean> {
  const question = exchangeQuestion.encode({ id })
  const until = swarm.clock.now() + RESOLVE_WAIT
  while (swarm.clock.now() < until && !signal.aborted) {
    try {
      const answer = await swarm.ask(partner, METHODS.outcome, question, { signal, timeout: QUESTION_TIMEOUT })
      return read(swarm, partner, outcomeAnswer, answer).outcome === 'aborted'
    } catch (error) {
      expectedFailure(error)
      await bell.wait(swarm.clock, RETRY, signal)
    }
  }
  return false
}

/** Heard from lately, and not leaving. */
export function isMember(swarm: ExchangeSwarm, peer: PeerName): boolean {
  return swarm.members().some((member) => member.peer === peer && member.status.phase !== 'leaving')
}

/** Decodes what a peer sent; a peer that sends garbage has it held against it. Throws StarlingError 'bad-message'. */
export function read<T>(
  swarm: Pick<ExchangeSwarm, 'penalize'>,
  from: PeerName,
  type: { decode(bytes: Uint8Array): T },
  bytes: Uint8Array,
): T {
  try {
    return type.decode(bytes)
  } catch (error) {
    swarm.penalize(from, 'bad-message')
    throw error
  }
}

/**
 * The code of a failure of the other side or of the network, which are part of life; anything else is a fault of ours and thrown. The code may be
 * any that the other side chose.
 */
export function expectedFailure(error: unknown): string {
  if (!(error instanceof StarlingError)) {
    throw error
  }
  return error.code
}
