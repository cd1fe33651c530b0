/** One step of a data peer after the other: all its microbatches there and back, then the commit; as a whole again where anything fails on the way. */
import { StarlingError } from '../../errors.ts'
import type { PeerName } from '../../ports.ts'
import type { Path, PathGenerator, Reachable } from '../paths/types.ts'
import { Commits, sharesOf } from './commit.ts'
import type { DataSide } from './data-side.ts'
import { type FlowParts, passingCode } from './parts.ts'
import { after, Fan } from './signals.ts'
import { PathFailure, type TripOrder, type TripResult } from './trip.ts'

/** Longest wait for a holder before the view is looked at again, ms. It rings at every change. */
const LOOK_AGAIN = 1_000

/** Pause before an attempt that follows several that failed, ms: doubled from the least to the most. */
const LEAST_PAUSE = 50
const MOST_PAUSE = 2_000

/** Refusals that say nothing against the holder, until there are so many one after the other. */
const MILD: ReadonlySet<string> = new Set([
  'other-epoch',
  'stale',
  'busy',
  'not-a-data-peer',
  'unknown-pass',
  'not-summed',
])
const MILD_LIMIT = 4

/** Attempts one after the other that end with values that are not finite before training has diverged. */
const DIVERGED = 5

/** How long a commit that has begun goes on after this peer was told to stop, ms. */
const STOP_GRACE = 2_000

/** A step that was taken. */
export interface StepDone {
  step: number
  /** Mean over the samples. */
  loss: number
  samples: number
  gradientNorm: number
  learningRate: number
  milliseconds: number
}

/** What a data peer tells of its attempts. */
export interface StepsEvents {
  /** A holder cannot be used any more. */
  onLost(failure: PathFailure, step: number): void
  /** All stages have holders and the microbatches are about to be sent. */
  onReady(step: number, signal: AbortSignal): Promise<void>
  onWaiting(what: string): void
}

export class Steps {
  readonly #parts: FlowParts
  readonly #data: DataSide
  readonly #commits: Commits
  readonly #paths: PathGenerator
  readonly #events: StepsEvents
  /** When this process of the peer began: holders tell it from one before. */
  readonly #session: number
  /** Rises over all steps, so that holders know the newest. */
  #attempt = 0
  /** Microbatches sent, and sent again, since the start. */
  microbatches = 0
  retries = 0
  /** Passes without a step, ever. */
  #looks = 0

  constructor(parts: FlowParts, data: DataSide, paths: PathGenerator, events: StepsEvents) {
    this.#parts = parts
    this.#data = data
    this.#commits = new Commits(parts)
    this.#paths = paths
    this.#session = Math.floor(parts.modules.swarm.clock.now())
    this.#events = events
  }

  /** Takes the step, in as many attempts as it needs. Undefined where the ends are not this peer's any more, or at another step. */
  async take(step: number, signal: AbortSignal): Promise<StepDone | undefined> {
    const { holders, modules } = this.#parts
    const { clock } = modules.swarm
    const started = clock.now()
    /** Failures one after the other that were nobody's fault, and of values that were not finite. */
    let mild = 0
    let unusable = 0
    for (;;) {
      const attempt = ++this.#attempt
      const held = holders.held(0)
      if (held === undefined || held.step + 1 !== step) {
        return undefined
      }
      try {
        const done = await this.#try(step, attempt, held.epoch, signal)
        return { ...done, step, milliseconds: clock.now() - started }
      } catch (error) {
        signal.throwIfAborted()
        await this.#parts.queue.run('now', () => this.#parts.stages.clear('ends', 0))
        const code = error instanceof PathFailure ? error.code : passingCode(error)
        unusable = code === 'not-finite' ? unusable + 1 : 0
        if (unusable >= DIVERGED) {
          const message = `the values of step ${step} are not finite, ${unusable} times one after the other`
          throw new StarlingError('not-finite', message, { step }, { cause: error })
        }
        if (error instanceof PathFailure && !(MILD.has(code) && mild < MILD_LIMIT)) {
          // The next attempt goes another way, at once.
          mild = 0
          this.lose(error, step)
          continue
        }
        mild++
      }
      await clock.sleep(Math.min(MOST_PAUSE, LEAST_PAUSE * 2 ** Math.min(10, mild - 1)), signal)
    }
  }

  /** That holder is not used any more, until it says something newer of itself. */
  lose(failure: PathFailure, step: number): void {
    this.#parts.holders.suspect(failure.stage, failure.peer, failure.reason)
    this.#events.onLost(failure, step)
  }

  async #try(
    step: number,
    attempt: number,
    epoch: number,
    signal: AbortSignal,
  ): Promise<Omit<StepDone, 'step' | 'milliseconds'>> {
    const { holders, stages, queue, modules } = this.#parts
    const { microbatches } = stages.cut
    await this.#commits.settle((stage, peer) => holders.ready(stage).includes(peer), signal)
    await this.#wait(step, attempt, signal)
    await this.#events.onReady(step, signal)
    const paths: Path[] = []
    const began = modules.swarm.clock.now()
    const results = await this.#all(
      microbatches,
      (microbatch) => {
        const id = { origin: modules.swarm.self, session: this.#session, epoch, keep: true, step, attempt, microbatch }
        const found = this.#paths.path({ step, attempt, microbatch }, this.reachable)
        if ('missing' in found) {
          throw new StarlingError('stage-missing', `stages ${found.missing.join(', ')} have no holder`, {})
        }
        paths[microbatch] = found.path
        const source = { kind: 'training', batch: step - 1, microbatch } as const
        return { id, path: found.path, source, at: began + (found.start ?? 0) }
      },
      signal,
    )
    const commit = { session: this.#session, epoch, step, attempt }
    const shares = sharesOf(paths)
    await this.#commits.check(commit, shares, signal)
    // From here on the step counts, whatever happens to single holders; who is told to stop now still has a moment to tell them all.
    const lasting = after(signal, STOP_GRACE, modules.swarm.clock)
    const { norms, failures } = await this.#commits.apply(commit, shares, lasting.signal)
    lasting.end()
    const ends = await queue.run('now', async () => {
      const held = holders.held(0)
      if (held === undefined || held.epoch !== epoch) {
        return undefined
      }
      const taken = await stages.step('ends', 0, { step, applied: held.applied + 1, rate: held.rate })
      holders.update(0, { step, norm: taken.gradientNorm })
      return taken
    })
    for (const failure of failures) {
      this.lose(failure, step)
    }
    const samples = results.reduce((sum, result) => sum + result.samples, 0)
    const squares = [...norms, ends?.gradientNorm ?? 0].reduce((sum, norm) => sum + norm * norm, 0)
    return {
      loss: results.reduce((sum, { loss }) => sum + loss, 0) / samples,
      samples,
      gradientNorm: Math.sqrt(squares),
      learningRate: ends?.learningRate ?? 0,
    }
  }

  /** Sends so many passes round, as many at once as there is memory for. The first failure ends them all, and is thrown when all have ended. */
  async #all(
    count: number,
    make: (number: number) => Omit<TripOrder, 'slot'> & { at?: number },
    signal: AbortSignal,
  ): Promise<TripResult[]> {
    const ended = new AbortController()
    const onAbort = (): void => ended.abort(signal.reason)
    signal.throwIfAborted()
    signal.addEventListener('abort', onAbort, { once: true })
    const fan = new Fan(ended.signal)
    const under: Promise<TripResult | undefined>[] = []
    try {
      for (let number = 0; number < count; number++) {
        const slot = await this.#data.slots.take(ended.signal)
        let order: ReturnType<typeof make>
        try {
          ended.signal.throwIfAborted()
          order = make(number)
        } catch (error) {
          this.#data.slots.give(slot)
          throw error
        }
        this.microbatches += order.id.keep ? 1 : 0
        under.push(
          fan
            .run((own) => this.#travel({ ...order, slot }, own))
            .catch((error: unknown) => {
              ended.abort(error)
              return undefined
            }),
        )
      }
    } catch (error) {
      ended.abort(error)
    }
    const results = await Promise.all(under)
    signal.removeEventListener('abort', onAbort)
    if (ended.signal.aborted) {
      this.retries += results.length
      throw ended.signal.reason
    }
    return results as TripResult[]
  }

  /** Sends a pass round when its time has come. */
  async #travel({ at = 0, ...order }: TripOrder & { at?: number }, signal: AbortSignal): Promise<TripResult> {
    const { clock } = this.#parts.modules.swarm
    const wait = at - clock.now()
    if (wait > 0) {
      try {
        await clock.sleep(wait, signal)
      } catch (error) {
        this.#data.slots.give(order.slot)
        throw error
      }
    }
    return this.#data.travel(order, signal)
  }

  /** Passes without a backward pass, e.g. over the validation data, on the paths of a generator. Throws as {@link DataSide.travel}, or 'stage-missing'. */
  async look(
    sources: readonly TripOrder['source'][],
    paths: PathGenerator,
    signal: AbortSignal,
  ): Promise<TripResult[]> {
    const { holders, modules } = this.#parts
    return this.#all(
      sources.length,
      (number) => {
        const held = holders.held(0)
        if (held === undefined) {
          throw new StarlingError('not-a-data-peer', 'this peer does not hold the ends of the model', {})
        }
        const found = paths.path({ step: held.step, attempt: 0, microbatch: number }, this.reachable)
        if ('missing' in found) {
          throw new StarlingError('not-ready', `stages ${found.missing.join(', ')} have no holder just now`, {
            missing: found.missing,
          })
        }
        const own = { origin: modules.swarm.self, session: this.#session, epoch: held.epoch }
        // Of the latest attempt, so that holders forget what one before it left in their memory.
        const id = { ...own, keep: false, step: 0, attempt: this.#attempt, microbatch: this.#looks++ }
        return { id, path: found.path, source: sources[number]! }
      },
      signal,
    )
  }

  /** Whom paths may use. */
  readonly reachable: Reachable = {
    ready: (stage) => this.#parts.holders.ready(stage),
    dataPeers: () => this.#parts.holders.dataPeers(),
    load: (peer: PeerName) => this.#data.load(peer),
  }

  /** Until every microbatch has a path. */
  async #wait(step: number, attempt: number, signal: AbortSignal): Promise<void> {
    const { holders, stages, modules } = this.#parts
    const numbers = Array.from({ length: stages.cut.microbatches }, (_, microbatch) => microbatch)
    let said = ''
    for (;;) {
      signal.throwIfAborted()
      const missing = new Set(
        numbers.flatMap((microbatch) => {
          const found = this.#paths.path({ step, attempt, microbatch }, this.reachable)
          return 'missing' in found ? found.missing : []
        }),
      )
      if (missing.size === 0) {
        return
      }
      const what = holders.waiting() ?? `holders of stages ${[...missing].sort((a, b) => a - b).join(', ')}`
      if (what !== said) {
        said = what
        this.#events.onWaiting(what)
      }
      if (holders.held(0) === undefined) {
        throw new StarlingError('stage-missing', 'the ends are not here any more', {})
      }
      await holders.bell.wait(modules.swarm.clock, LOOK_AGAIN, signal)
    }
  }
}
