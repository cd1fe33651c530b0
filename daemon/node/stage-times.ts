import type { StageLearner } from '../../protocols/index.ts'

/** Operations whose time counts; the others are looks and housekeeping. */
const TIMED = ['embed', 'forward', 'loss', 'backward', 'step', 'logits', 'initial'] as const

/** The same stages, telling `took` of every operation how long it took from the call to its end, milliseconds. */
export function timedStages(
  stages: StageLearner,
  took: (operation: string, milliseconds: number) => void,
): StageLearner {
  const timed: Record<string, unknown> = { ...stages }
  for (const name of TIMED) {
    const operation = stages[name].bind(stages) as (...given: unknown[]) => Promise<unknown>
    timed[name] = async (...given: unknown[]) => {
      const began = performance.now()
      try {
        return await operation(...given)
      } finally {
        took(name, performance.now() - began)
      }
    }
  }
  return timed as unknown as StageLearner
}
