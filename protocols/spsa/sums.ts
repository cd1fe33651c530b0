/** The parameters as a function of the set of contributions: integer sums that follow the log, and theta computed from them. */

import { StarlingError } from '../errors.ts'
import { createTurns } from '../one-after-another.ts'
import type { Learner, PeerName } from '../ports.ts'
import type { Report } from '../strategy.ts'
import { effectsBetween } from './effects.ts'
import { countOf, equalVersions, towards } from './path.ts'
import { applyTask, clearTask, refreshTask, snapshotTask } from './tasks.ts'
import type { ContributionLog, VersionVector } from './types.ts'
import type { WeightRule } from './weights.ts'

/** Time that one slice of work may take the trainer thread, s: what else it has to do waits no longer. */
const SLICE = 0.25

/** Contributions of a slice at least: fewer at once cost the memory traffic of many. */
const LEAST = 16

/** Contributions of a slice at most, so that its coefficients take little memory however small the model. */
const MOST = 16_384

/** Contributions of the first slice, which measures the speed. */
const FIRST = 64

/** A sum above half of what 32 bits hold gets a warning. */
const LARGE = 2 ** 30

/** Weight of a slice in the running mean of the speed. */
const SMOOTHING = 0.3

/** What {@link Sums} is made from. */
export interface SumsModules {
  run: string
  learner: Learner
  log: ContributionLog
  rule: WeightRule
  report: Report
}

/** The sums and what is in them. One caller at a time; only {@link copy} may come at any moment. */
export class Sums {
  readonly #modules: SumsModules
  readonly #inTurn = createTurns()
  /** What the vector 'sums' holds, and what theta was computed from. */
  #version: VersionVector = new Map()
  #refreshed: VersionVector | undefined
  #saidLarge = false
  /** The sums are those of a set; not so when the trainer died while it applied. */
  #whole = true
  /** Contributions of excluded authors that are still in the sums; of as many authors as the log may hold. */
  readonly #removed = new Map<PeerName, Uint8Array>()
  readonly #unlisten: () => void
  /** Parameters times contributions per second; undefined before the first slice. */
  #speed: number | undefined

  /** The vector 'sums' is zero: the run's common start. */
  constructor(modules: SumsModules) {
    this.#modules = modules
    this.#unlisten = modules.log.onChange(({ kind, author, bytes }) => {
      if (kind === 'removed') {
        this.#removed.set(author, bytes.slice())
      }
    })
  }

  /** The set that the sums hold. */
  get version(): VersionVector {
    return this.#version
  }

  /** Seconds that applying so many contributions takes, by the speed of the slices so far; 0 before the first. */
  secondsFor(contributions: number): number {
    return this.#speed === undefined ? 0 : (contributions * this.#modules.learner.size) / this.#speed
  }

  /** Whether the log holds all of that set, so that the sums of it can be taken further. */
  covers(version: VersionVector): boolean {
    const held = this.#modules.log.version()
    return [...version].every(([author, count]) => count <= (held.get(author) ?? 0))
  }

  /** Says what is in the vector 'sums', which has just been filled. Only what the log covers. */
  assume(version: VersionVector): void {
    this.#version = version
    this.#whole = true
    this.doubt()
  }

  /** After the trainer died: theta may be anything, and is computed again the next time. */
  doubt(): void {
    this.#refreshed = undefined
  }

  /** Back to the common start. */
  async clear(): Promise<void> {
    await this.#modules.learner.compute(clearTask, null)
    this.assume(new Map())
  }

  /** One slice of the way to a set that the log holds or held; true when there. Throws what the trainer does; after its death the sums are computed anew. */
  async advance(target: VersionVector): Promise<boolean> {
    if (!this.#whole) {
      await this.clear()
    }
    if (!equalVersions(this.#version, target)) {
      await this.#inTurn(() => this.#apply(towards(this.#version, target, this.#limit())))
    }
    return equalVersions(this.#version, target)
  }

  /**
   * Brings the sums to the set that the log holds now and computes theta from them. Returns the digest of that set when anything changed; stops early
   * when aborted.
   */
  async follow(signal: AbortSignal): Promise<Uint8Array | undefined> {
    const { log } = this.#modules
    const target = log.version()
    const digest = log.digest()
    while (!(await this.advance(target))) {
      if (signal.aborted) {
        return undefined
      }
    }
    return (await this.refresh()) ? digest : undefined
  }

  /** theta <- the parameters of the set. True when they changed. */
  async refresh(): Promise<boolean> {
    if (this.#refreshed === this.#version) {
      return false
    }
    const { learner, rule } = this.#modules
    await learner.compute(refreshTask, { rule })
    this.#refreshed = this.#version
    return true
  }

  #limit(): number {
    if (this.#speed === undefined) {
      return FIRST
    }
    const { size } = this.#modules.learner
    return Math.min(MOST, Math.max(LEAST, Math.floor((SLICE * this.#speed) / size)))
  }

  /** Copies the sums into the vector 'snapshot'; returns the set that they hold. */
  copy(): Promise<VersionVector> {
    return this.#inTurn(async () => {
      await this.#modules.learner.compute(snapshotTask, null)
      return this.#version
    })
  }

  /** Listens to the log no more. */
  stop(): void {
    this.#unlisten()
  }

  async #apply(next: VersionVector): Promise<void> {
    const { run, learner, log, rule, report } = this.#modules
    const bytesOf = (author: PeerName): Uint8Array => this.#removed.get(author) ?? log.bytesOf(author)
    const effects = effectsBetween(this.#version, next, bytesOf, rule)
    this.#whole = false
    try {
      const { seconds, work, largest } = await learner.compute(applyTask, { run, effects, rule })
      if (work > 0 && seconds > 0) {
        const speed = work / seconds
        this.#speed = this.#speed === undefined ? speed : this.#speed + SMOOTHING * (speed - this.#speed)
      }
      this.#version = next
      this.#whole = true
      if (largest > LARGE && !this.#saidLarge) {
        this.#saidLarge = true
        report({ kind: 'sums-large', largest, contributions: countOf(next) })
      }
    } catch (error) {
      // A trainer that died may have come anywhere; of every other error the task says that it has changed nothing.
      this.#whole = !(error instanceof StarlingError && error.code === 'trainer-crashed')
      throw error
    }
    for (const author of this.#removed.keys()) {
      if (!this.#version.has(author)) {
        this.#removed.delete(author)
      }
    }
  }
}
