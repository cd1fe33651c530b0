/** How a peer begins again: with the round that an earlier process of it left on disk. */

import type { Progress } from '../replica/index.ts'
import type { StrategyModules } from '../strategy.ts'
import type { Exchange } from './exchange.ts'
import type { Ledger, Prepared } from './ledger.ts'
import type { OwnReplica } from './own-replica.ts'
import { encodeTask, inspectTask, type TensorOptions } from './tasks.ts'

/**
 * The round whose outer step has to be taken again, because a kill may have come between its exchange and the next checkpoint. `resumed` is the
 * progress in the checkpoint from which this process goes on, which is at `step`; undefined when it begins anew, and then nothing kept counts.
 */
export async function keptRound(
  ledger: Ledger,
  resumed: Readonly<Progress> | undefined,
  step: number,
): Promise<Prepared | undefined> {
  const kept = await ledger.open()
  if (kept === undefined) {
    return undefined
  }
  if (resumed === undefined) {
    // The user wants to begin anew, or lost the checkpoints: what is kept belongs to a replica that is gone.
    await ledger.forget()
    return undefined
  }
  // The record of a round that the checkpoint is past has nothing to add.
  const { ready, round } = resumed
  const past = ready && (kept.round < round || (kept.round === round && kept.step < step))
  return past ? undefined : kept
}

/** Takes the outer step of a kept round again, as its exchange ended. */
export async function takeAgain(
  kept: Prepared,
  { learner, report }: StrategyModules,
  parts: { ledger: Ledger; exchange: Exchange; replica: OwnReplica; tensor: TensorOptions },
  signal: AbortSignal,
): Promise<void> {
  const { ledger, replica, tensor } = parts
  const { round, step, exchange } = kept
  await ledger.restore()
  await learner.setStep(step)
  const together = (await parts.exchange.resolve(kept, signal)) === 'committed'
  if (exchange === undefined) {
    await replica.step(round, step, 0)
    report({ kind: 'exchange-skipped', round, reason: 'no-partner' })
    return
  }
  const { partner, share } = exchange
  if (!together) {
    await replica.step(round, step, 0)
    report({ kind: 'exchange-skipped', round, reason: 'partner-lost', partner })
    return
  }
  // The code is a function of the parameters: the same tensor as before the kill.
  const { codingError } = await learner.compute(encodeTask, tensor)
  const { disagreement } = await learner.compute(inspectTask, tensor)
  await replica.step(round, step, share)
  const nothingMoved = { bytesSent: 0, bytesReceived: 0, milliseconds: 0 }
  report({ kind: 'exchange', round, partner, disagreement, codingError, share, ...nothingMoved })
}
