/** A microbatch that a holder cannot work on or hand on. */
import { failedQuestion, METHODS, type PassId } from '../messages.ts'
import type { LossReason } from '../types.ts'
import { type FlowParts, passingCode } from './parts.ts'

/** Whole time for telling a data peer of a failure, ms. It is told again by its own watch otherwise. */
const TELL_TIMEOUT = 3_000

/** A microbatch failed: at which hop, and whose fault it was. */
export class VisitFailure extends Error {
  readonly hop: number
  readonly loss: { reason: LossReason; code: string }

  constructor(hop: number, loss: { reason: LossReason; code: string }) {
    super(`hop ${hop}: ${loss.code}`)
    this.hop = hop
    this.loss = loss
  }
}

/** Tells the data peer, as well as it goes. */
export async function tellFailure(
  { courier }: FlowParts,
  { origin, ...pass }: PassId,
  { hop, loss }: VisitFailure,
  signal: AbortSignal,
): Promise<void> {
  const question = failedQuestion.encode({ ...pass, hop, ...loss })
  try {
    await courier.ask(origin, METHODS.failed, question, { timeout: TELL_TIMEOUT, maxAnswer: 0, signal })
  } catch (error) {
    passingCode(error)
  }
}
