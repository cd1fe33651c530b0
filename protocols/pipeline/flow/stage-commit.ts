/** The holder's end of a commit. */
import { StarlingError } from '../../errors.ts'
import type { PeerName } from '../../ports.ts'
import { type CommitQuestion, commitAnswer } from '../messages.ts'
import type { Held } from '../types.ts'
import type { Book } from './book.ts'
import { type FlowParts, passingCode, refuse } from './parts.ts'

/** Whether this peer has summed just what the data peer says; and, told so, one optimizer step. `book`: what it keeps of that data peer. */
export async function commitStage(
  parts: FlowParts,
  book: Book | undefined,
  from: PeerName,
  question: CommitQuestion,
): Promise<Uint8Array> {
  const { stages: learner, holders, queue, modules } = parts
  const { session, epoch, step, attempt, stage, phase } = question
  if (step < 1 || step > modules.training.steps) {
    return refuse(parts, from, 'commit', 'bad-step')
  }
  if (book === undefined || book.session !== session || book.attempt !== attempt) {
    throw new StarlingError('not-summed', 'this peer has nothing of that step', {})
  }
  const done = book.applied.get(stage)
  if (done?.attempt === attempt) {
    return commitAnswer.encode({ gradientNorm: await done.gradientNorm })
  }
  mustHold(parts, stage, epoch)
  const summed = [...(book.sums.get(stage) ?? [])].sort((a, b) => a - b)
  if (summed.length !== question.microbatches.length || summed.some((m, i) => m !== question.microbatches[i])) {
    throw new StarlingError('not-summed', 'this peer has summed other microbatches', { summed: summed.length })
  }
  if (phase === 'check') {
    return commitAnswer.encode({})
  }
  const gradientNorm = queue.run('now', async () => {
    // Looked at again: it may have been given away meanwhile.
    const { place, step: before, applied, rate } = mustHold(parts, stage, epoch)
    const taken = await learner.step(place, book.accumulator, { step, applied: applied + 1, rate })
    const reached = Math.max(step, before)
    holders.update(stage, { step: reached, norm: taken.gradientNorm })
    modules.swarm.announce({ step: reached, round: reached })
    await modules.learner.setStep(reached)
    return taken.gradientNorm
  })
  book.sums.delete(stage)
  book.applied.set(stage, { step, attempt, gradientNorm })
  try {
    return commitAnswer.encode({ gradientNorm: await gradientNorm })
  } catch (error) {
    const code = passingCode(error)
    // What cannot be used must not be there for the next step.
    clearSum(parts, stage, book.accumulator)
    throw new StarlingError(code, `the stage could not take the step: ${code}`, { stage })
  }
}

/** What this peer holds of a stage. Throws 'moved' where it does not, and 'other-epoch' where it was set back another number of times. */
export function mustHold({ holders }: FlowParts, stage: number, epoch: number): Held & { place: number } {
  const held = holders.held(stage)
  if (held === undefined || typeof held.place !== 'number') {
    throw new StarlingError('moved', `this peer does not hold stage ${stage}`, { stage })
  }
  if (held.epoch !== epoch) {
    throw new StarlingError('other-epoch', `this peer was set back ${held.epoch} times, not ${epoch}`, { stage })
  }
  return held as Held & { place: number }
}

/** A data peer's gradient of a stage <- 0, after whatever is being added to it just now. */
export function clearSum({ queue, stages, holders, onBroken }: FlowParts, stage: number, accumulator: number): void {
  queue
    .run('now', async () => {
      const held = holders.held(stage)
      if (held !== undefined) {
        await stages.clear(held.place, accumulator)
      }
    })
    .catch(onBroken)
}
