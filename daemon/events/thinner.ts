import type { StrategyEvent } from '../../protocols/index.ts'

type StepEvent = Extract<StrategyEvent, { kind: 'step' }>

/** Milliseconds between two events of a kind that never stops: what the page can draw, and little enough to gossip. */
const THINNED_INTERVAL = 1_000

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
      if (now() - last >= THINNED_INTERVAL || folded.length >= FOLDED_STEPS) flush()
    },
    flush,
  }
}

type ContributionsEvent = Extract<StrategyEvent, { kind: 'contributions' }>

export interface ContributionThinner {
  /** Takes every change of the set; passes on the newest at most once a second, and the last one however long nothing follows. */
  changed(event: ContributionsEvent): void
  /** Passes on what is left and forgets the timer. */
  flush(): void
}

/** Folds changes of the set of contributions: what was added is summed, the rest is the last one's. */
export function createContributionThinner(emit: (event: ContributionsEvent) => void): ContributionThinner {
  let folded: ContributionsEvent | undefined
  let timer: NodeJS.Timeout | undefined

  const pass = (): void => {
    if (folded === undefined) {
      timer = undefined
      return
    }
    const event = folded
    folded = undefined
    timer = setTimeout(pass, THINNED_INTERVAL)
    timer.unref()
    emit(event)
  }

  return {
    changed(event) {
      folded = { ...event, added: event.added + (folded?.added ?? 0) }
      if (timer === undefined) pass()
    },
    flush() {
      clearTimeout(timer)
      timer = undefined
      if (folded !== undefined) emit(folded)
      folded = undefined
    },
  }
}
