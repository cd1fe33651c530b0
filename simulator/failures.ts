/** When stages of a pipeline are lost, and what the classic answers to that cost: the baselines of CheckFree (arXiv 2506.15461, section 5). */
import { seededRandom } from '../protocols/index.ts'

/** Options of {@link drawFailures}. */
export interface FailureOptions {
  seed: number | string
  /** Numbered from 1; embedding and head are not stages and never lost. */
  stages: number
  steps: number
  /** Chance of each stage to be lost at the begin of each step, independent of all else. */
  chance: number
}

/**
 * Stages that are lost at the begin of each step, in rising order. One number is drawn for every (step, stage) whatever the chance, so all strategies of a comparison meet
 * the same failures, also those of which some stages are never lost (take these out of the lists), and the failures of a smaller chance are among those of a larger one.
 */
export function drawFailures({ seed, stages, steps, chance }: FailureOptions): number[][] {
  const random = seededRandom('stage-failures', seed)
  return Array.from({ length: steps }, () => {
    const draws = Array.from({ length: stages }, () => random.uniform())
    return draws.flatMap((draw, i) => (draw < chance ? [i + 1] : []))
  })
}

/** Chance that at least one of `stages` is lost in a step. */
export function chanceOfAny(chance: number, stages: number): number {
  return 1 - (1 - chance) ** stages
}

/**
 * Training that goes back to a checkpoint of everything whenever a stage is lost: how many steps the model has come after each step that was computed. A checkpoint is kept
 * every `interval` computed steps; a failure comes before the step, which is then computed from the checkpoint. Writing and reading checkpoints costs nothing here, as in
 * the paper, so this is the least that checkpoints cost.
 */
export function replayCheckpoints(failed: Iterable<boolean>, interval: number): number[] {
  const progress: number[] = []
  let [at, kept] = [0, 0]
  for (const failure of failed) {
    if (progress.length % interval === 0) kept = at
    if (failure) at = kept
    progress.push(++at)
  }
  return progress
}

/**
 * Computed steps per step of progress in {@link replayCheckpoints} on average, C P / (1 - (1 - P)^C) with P the chance of a failure per step: within the C steps
 * between two checkpoints, progress is the run of steps since the last failure.
 */
export function replayCost(interval: number, chance: number): number {
  return chance === 0 ? 1 : (interval * chance) / (1 - (1 - chance) ** interval)
}

/** Time per step, in steps of plain training, when every stage is also computed by the stage before it: the paper measured 151.04 s against 91.35 s. */
export const REDUNDANT_COST = 1.65
