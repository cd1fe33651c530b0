/**
 * The ends, kept by others: after each step a data peer lets the holders of the first and of the last stage fetch an exact copy of its parameters, one at a time, newest
 * first, never waited for by training. When the data peer dies, another goes on from there (CheckFree+, arXiv 2506.15461, section 4.3). The optimizer's moments are not copied, as in the
 * paper: they start afresh.
 */
import { StarlingError } from '../../errors.ts'
import { sha256Hex } from '../../hash.ts'
import type { PeerName } from '../../ports.ts'
import { type Copies, read, type Source } from './copies.ts'
import { keepQuestion, METHODS } from './messages.ts'
import { type OwnParts, rangeOf } from './own.ts'
import { checkScale, inspect } from './take.ts'
import { adoptTask } from './tasks.ts'
import type { HoldersConfig } from './types.ts'
import { AHEAD, type StageView } from './view.ts'

/** Peers that keep a copy. */
const KEEPERS = 2

/** Whole time for a keeper to fetch a copy, ms, beside {@link SLOWEST}. */
const KEEP_TIMEOUT = 5_000

/** Rate at which a copy is at least fetched, bytes per ms (2 Mbit/s). */
const SLOWEST = 250

/** Pause after no keeper could take a copy, ms. */
const PAUSE = 200

export interface EndsContext {
  config: HoldersConfig
  view: StageView
  own: OwnParts
  copies: Copies
  /** Ready holders of a part, best first. */
  ready(part: number): readonly PeerName[]
  epoch(): number
  /** Tells the others that this peer keeps a copy now. */
  say(): void
}

export class Ends {
  readonly #context: EndsContext
  /** The copy that this peer keeps, in the ends' place of theta: it is no data peer. */
  #kept: { step: number; rate: number; epoch: number } | undefined
  /** A copy on its way to this peer. */
  #keeping: { stop: AbortController; done: Promise<void> } | undefined
  #giving: Promise<void> | undefined
  /** Step of the latest copy that was given. */
  #given = -1

  constructor(context: EndsContext) {
    this.#context = context
  }

  /** Begins to answer; returns how to stop that. */
  start(signal: AbortSignal): () => void {
    const { swarm } = this.#context.config.modules
    return swarm.answer(METHODS.keep, (from, question) => this.#onKeep(from, question, signal))
  }

  /** Step of the copy that this peer keeps. */
  get keeps(): number | undefined {
    return this.#kept?.step
  }

  /** The copy, for one who takes the ends. */
  source(): Source | undefined {
    const kept = this.#kept
    return kept === undefined
      ? undefined
      : { range: rangeOf(this.#context.config.cut, 0, 'ends'), course: () => ({ ...kept, applied: 0 }) }
  }

  /** Keeps no more: this peer takes the ends itself. Resolves, when nothing is written to their place any more, to the step of the copy that lies there. */
  async take(): Promise<number | undefined> {
    this.#keeping?.stop.abort(new StarlingError('aborted', 'this peer becomes a data peer', {}))
    await this.#keeping?.done
    return this.#kept?.step
  }

  /** This peer has the ends: what lies there is not a kept copy any more. */
  taken(): void {
    this.#kept = undefined
  }

  /** As a data peer: gives a copy of the ends as they are now, unless one is being given; then that of the latest step comes next. */
  give(signal: AbortSignal): void {
    // Otherwise they come back with everything else.
    if (this.#context.config.options.recovery === 'checkpoint') {
      return
    }
    this.#giving ??= this.#give(signal)
      .catch((error: unknown) => {
        // This peer is stopped, or no data peer any more.
        if (!(error instanceof StarlingError)) {
          throw error
        }
      })
      .finally(() => {
        this.#giving = undefined
      })
  }

  /** Resolves when nothing is given any more. */
  async settled(): Promise<void> {
    await this.#giving
  }

  async #give(signal: AbortSignal): Promise<void> {
    const { own, copies, config } = this.#context
    const { clock } = config.modules.swarm
    while (!signal.aborted && own.ready(0) !== undefined && own.ready(0)?.course.step !== this.#given) {
      const keepers = this.#keepers()
      const given =
        keepers.length === 0 ? 'none' : await copies.forKeepers((copy) => this.#offer(keepers, copy, signal))
      if (given === 'kept') {
        continue
      }
      if (given === 'none') {
        return
      }
      await clock.sleep(PAUSE, signal).catch(() => undefined)
    }
  }

  /** Lets all keepers fetch one copy; 'failed' where none has it. */
  async #offer(
    keepers: readonly PeerName[],
    copy: { step: number; rate: number; root: string; size: number },
    signal: AbortSignal,
  ): Promise<'kept' | 'failed'> {
    const { swarm } = this.#context.config.modules
    const { step, rate, root, size } = copy
    const question = keepQuestion.encode({ step, rate, root, size })
    const timeout = KEEP_TIMEOUT + size / SLOWEST
    const asked = keepers.map((keeper) =>
      swarm.ask(keeper, METHODS.keep, question, { signal, timeout }).then(
        () => true,
        (error: unknown) => {
          if (!(error instanceof StarlingError)) {
            throw error
          }
          return false
        },
      ),
    )
    const kept = await Promise.all(asked)
    if (!kept.includes(true)) {
      return 'failed'
    }
    this.#given = step
    return 'kept'
  }

  /** The holders of the first and of the last stage, and, where this peer holds those itself, others by hash. */
  #keepers(): PeerName[] {
    const { config, view, ready } = this.#context
    const { swarm } = config.modules
    const first = ready(1).find((peer) => peer !== swarm.self)
    const last = ready(config.cut.stages).find((peer) => peer !== swarm.self && peer !== first)
    const chosen = [first, last].filter((peer) => peer !== undefined)
    const others = view
      .peers(swarm.clock.now())
      .filter((peer) => peer !== swarm.self && !chosen.includes(peer) && !ready(0).includes(peer))
      .map((peer) => ({ peer, key: sha256Hex(JSON.stringify(['pipeline-keeper', swarm.run, peer])) }))
      .sort((a, b) => (a.key < b.key ? -1 : 1))
    return [...chosen, ...others.map(({ peer }) => peer)].slice(0, KEEPERS)
  }

  async #onKeep(from: PeerName, bytes: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const { config, own, view, epoch } = this.#context
    const { swarm } = config.modules
    const { step, rate, root, size } = read(swarm, from, keepQuestion, bytes)
    const holders = view.holders(0, swarm.clock.now()).map(({ peer }) => peer)
    if (!holders.includes(from) || own.get(0) !== undefined) {
      throw new StarlingError('not-kept', 'this peer keeps the ends of data peers, and is none itself', { from })
    }
    const range = rangeOf(config.cut, 0, 'ends')
    if (size !== 4 * (range.end - range.begin)) {
      swarm.penalize(from, 'bad-tensor')
      throw new StarlingError('bad-tensor', `the ends have ${4 * (range.end - range.begin)} bytes, not ${size}`, {
        from,
      })
    }
    // A larger step would keep the true ends out.
    if (step > (view.stageStep(swarm.clock.now()) ?? 0) + AHEAD) {
      throw new StarlingError('not-kept', `the stages are not at step ${step}`, { from, step })
    }
    const newer = this.#kept === undefined || step > this.#kept.step || epoch() > this.#kept.epoch
    if (!newer) {
      return new Uint8Array(0)
    }
    if (this.#keeping !== undefined) {
      throw new StarlingError('peer-busy', 'another copy of the ends is being fetched', { from })
    }
    const stop = new AbortController()
    const end = (): void => stop.abort(signal.reason)
    signal.addEventListener('abort', end, { once: true })
    const fetched = this.#fetch(from, { step, rate, root, size }, stop.signal)
    const done = fetched.then(
      () => undefined,
      () => undefined,
    )
    this.#keeping = { stop, done }
    try {
      await fetched
    } finally {
      signal.removeEventListener('abort', end)
      this.#keeping = undefined
    }
    return new Uint8Array(0)
  }

  /** Fetches a copy to where the ends' gradient would lie, and takes it over whole. */
  async #fetch(
    from: PeerName,
    { step, rate, ...reference }: { step: number; rate: number; root: string; size: number },
    signal: AbortSignal,
  ): Promise<void> {
    const { config, epoch, say } = this.#context
    const { swarm, blobs, learner, stages } = config.modules
    const range = rangeOf(config.cut, 0, 'ends')
    if (this.#kept === undefined) {
      await stages.initial(0, 'ends', signal)
    }
    const start = await inspect(config.modules, 'theta', range, signal)
    const into = learner.bytes('gradient').subarray(4 * range.begin, 4 * range.end)
    await blobs.pull([from], reference, into, { signal })
    try {
      checkScale(await inspect(config.modules, 'gradient', range, signal), start, 0)
    } catch (error) {
      if (error instanceof StarlingError && error.code === 'bad-tensor') {
        swarm.penalize(from, 'bad-tensor')
      }
      throw error
    }
    await learner.compute(adoptTask, range, signal)
    const first = this.#kept === undefined
    this.#kept = { step, rate, epoch: epoch() }
    if (first) {
      say()
    }
  }
}
