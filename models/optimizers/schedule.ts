import type { TrainingConfig } from './config.ts'

/**
 * Learning rate of a step: linear warm-up to the peak, then half a cosine down to `finalRate` of the peak at the last step
 * (Loshchilov & Hutter 2017, without restarts). Steps after the last keep the final rate.
 * @param step steps taken before this one, from 0
 */
export function learningRateAt(training: TrainingConfig, step: number): number {
  const { steps, finalRate = 0.1 } = training
  const peak = training.optimizer.learningRate
  const warmup = training.warmup ?? Math.min(100, Math.floor(steps / 20))
  if (step < warmup) return (peak * (step + 1)) / warmup
  const progress = Math.min(1, (step - warmup) / Math.max(1, steps - warmup))
  return peak * (finalRate + (1 - finalRate) * 0.5 * (1 + Math.cos(Math.PI * progress)))
}
