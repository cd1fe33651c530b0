/** Local training between two meetings with others, for every strategy whose peers train. */
import type { StrategyModules } from './strategy.ts'

/**
 * Takes optimizer steps until `interval` of them have been taken since step `from`, or the run's steps are done, or the signal aborts; reports and
 * announces each. Returns how long that took, ms.
 */
export async function takeLocalSteps(
  { swarm, learner, report, training }: Pick<StrategyModules, 'swarm' | 'learner' | 'report' | 'training'>,
  { from, interval }: { from: number; interval: number },
  signal: AbortSignal,
): Promise<number> {
  const done = Math.max(0, learner.step() - from)
  const count = Math.min(interval - done, training.steps - learner.step())
  const started = swarm.clock.now()
  if (count > 0) {
    await learner.train(count, {
      signal,
      onStep: (summary) => {
        report({ kind: 'step', ...summary })
        swarm.announce({ step: summary.step, loss: summary.loss })
      },
    })
  }
  return swarm.clock.now() - started
}
