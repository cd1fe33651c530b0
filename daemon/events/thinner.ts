import type { StrategyEvent } from '../../protocols/index.ts'

type StepEvent = Extract<StrategyEvent, { kind: 'step' }>

/** Milliseconds between two step events of a node: what the page can draw, and little enough to gossip. */
const STEP_EVENT_INTERVAL = 1_000

export interface StepThinner {
  /** Takes every step; passes on at most one a second. */
  step(event: StepEvent): void
  /** Passes on what is left, at the end of training. */
  flush(): void
}

/** Folds training steps into at most one event a second: losses, norms and times are means over the folded steps, the rest is the last step's. */
export function createStepThinner(
  emit: (event: StepEvent) => void,
  now: () => number = () => performance.now(),
): StepThinner {
  let folded: StepEvent[] = [] // one second of steps, at most FOLDED_STEPS
  let last = Number.NEGATIVE_INFINITY
  const FOLDED_STEPS = 1_000

  const flush = (): void => {
    const latest = folded.at(-1)
    if (latest === undefined) return
    const mean = (value: (event: StepEvent) => number): number =>
      folded.reduce((sum, event) => sum + value(event), 0) / folded.length
    const event: StepEvent = {
      ...latest,
      loss: mean((step) => step.loss),
      gradientNorm: mean((step) => step.gradientNorm),
      milliseconds: mean((step) => step.milliseconds),
    }
    folded = []
    last = now()
    emit(event)
  }

  return {
    step(event) {
      folded.push(event)
      if (now() - last >= STEP_EVENT_INTERVAL || folded.length >= FOLDED_STEPS) flush()
    },
    flush,
  }
}
