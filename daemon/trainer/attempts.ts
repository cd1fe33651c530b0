/** What a death of the trainer thread means for the calls it was asked for. */
import type { TrainerCall } from './messages.ts'

/** A trainer that dies more often than this within {@link CRASH_WINDOW} is given up: something is wrong that a restart does not mend. */
export const MAX_CRASHES = 4
export const CRASH_WINDOW = 10 * 60_000

/**
 * Deaths of the trainer that a call survives, plus one. Half of a `compute` may be done, and half of a pass through a stage, so they are never begun again;
 * training goes on from the last whole step; the others may be done twice, but one that kills the trainer twice would do so for ever.
 */
export const ATTEMPTS: Record<TrainerCall['method'], number> = {
  train: MAX_CRASHES + 1,
  compute: 1,
  evaluate: 2,
  lossAt: 2,
  gradient: 2,
  generate: 2,
  setStep: 2,
  initial: 2,
  snapshot: 2,
  tensors: 2,
  'stage validationParts': 2,
  'stage hold': 2,
  'stage initial': 2,
  'stage embed': 2,
  'stage forward': 1,
  'stage loss': 1,
  'stage backward': 1,
  'stage drop': 2,
  'stage clear': 2,
  'stage step': 1,
  'stage logits': 2,
}
