/**
 * Training by one byte per gradient (Just One Byte; MeZO, arXiv 2305.17333), as a set: a contribution is (author, step, byte), and the parameters are a
 * function of the set of all of them. Whoever holds the same set holds the same bits, in whatever order it came. See docs/spsa.md.
 */
import { StarlingError } from '../errors.ts'
import { Evaluation } from '../evaluation.ts'
import { toHex } from '../hash.ts'
import type { Strategy, StrategyDefinition, StrategyModules } from '../strategy.ts'
import { type Contribute, driftCoordinates, twoPoint } from './contribute.ts'
import { catchUp, type JoinModules } from './join.ts'
import { createLog, createSync, encodeRunLog, type Sync } from './log/index.ts'
import type { SpsaOptions } from './options.ts'
import { countOf, equalVersions } from './path.ts'
import { settle } from './settle.ts'
import { audit, giveSnapshots } from './snapshot.ts'
import { Sums } from './sums.ts'
import { spsaTasks, spsaVectors } from './tasks.ts'
import type { ContributionLog, VersionVector } from './types.ts'
import { rateAt, type WeightRule, weightRule } from './weights.ts'

/** Longest time that own contributions are held back for their batch to fill up, ms: a kill loses them, and the others wait for them. */
const MAX_HELD = 10_000

/** Pause between two writes of what others contributed, ms. After a kill what is missing comes from them again. */
const FLUSH_EVERY = 2_000

class Spsa implements Strategy {
  readonly name = 'spsa'
  readonly state = ['sums'] as const
  readonly #options: SpsaOptions
  readonly #modules: StrategyModules
  readonly #rule: WeightRule
  readonly #log: ContributionLog
  readonly #sync: Sync
  readonly #sums: Sums
  readonly #contribute: Contribute
  readonly #evaluation: Evaluation
  readonly #resumed: VersionVector | undefined
  /** Own contributions for the steps from `from` on that are not in the log yet; fewer than `batch`, or the coordinates of one drift more. */
  #held: { from: number; bytes: number[]; since: number } | undefined
  #flushedAt = Number.NEGATIVE_INFINITY
  /** Contributions at the last event of theirs. */
  #told = 0
  /** The log of the set that the final parameters are those of, as a file. */
  #final: Uint8Array | undefined
  /** An error that is this machine's and ends the run here, such as a full disk. */
  #failure: unknown

  constructor(options: SpsaOptions, modules: StrategyModules, resumed?: Record<string, unknown>) {
    const { swarm, learner, records, report, training } = modules
    const { maxAuthors, maxRate, batch } = options
    const { steps } = training
    this.#options = options
    this.#modules = modules
    this.#rule = weightRule(options, steps)
    this.#resumed = readVersion(resumed)
    const { sign, verify } = { sign: swarm.sign.bind(swarm), verify: swarm.verify.bind(swarm) }
    this.#log = createLog(
      { run: swarm.run, self: swarm.self, steps, maxAuthors },
      { records, sign, verify, clock: swarm.clock, report },
    )
    this.#sync = createSync(
      { steps, maxAuthors, batch, maxRate, syncEvery: options.syncEvery * 1_000 },
      {
        swarm,
        log: this.#log,
        report,
        fail: (error) => {
          this.#failure ??= error
        },
      },
    )
    this.#sums = new Sums({ run: swarm.run, learner, log: this.#log, rule: this.#rule, report })
    this.#contribute =
      options.variant === 'spsa'
        ? twoPoint(modules, options)
        : driftCoordinates(modules, options, { rule: this.#rule, steps })
    this.#evaluation = new Evaluation(modules)
  }

  /** The set that the sums in a checkpoint hold. */
  progress(): Record<string, unknown> {
    return { version: Object.fromEntries(this.#sums.version) }
  }

  /** The log from which anyone can compute the final parameters again. */
  async artifacts(): Promise<Record<string, Uint8Array>> {
    return this.#final === undefined ? {} : { 'contributions.log': this.#final }
  }

  /** The parameters of the set, then, until this peer's steps are done: follow the set, and contribute to it. */
  async run(signal: AbortSignal): Promise<void> {
    const { training } = this.#modules
    const stops: (() => unknown)[] = []
    const stop = async (): Promise<void> => {
      for (const end of stops.splice(0).reverse()) {
        await end()
      }
    }
    try {
      await this.#begin(signal, stops)
      while (!signal.aborted && this.#step < training.steps) {
        await this.#follow(signal)
        await this.#contributeOnce(signal)
        await this.#evaluation.look(countOf(this.#sums.version), 'if-due', signal)
      }
      await this.#publish()
      if (!signal.aborted) {
        await this.#finish(signal)
      }
    } catch (error) {
      // A stop at any point is a clean end.
      const stopped = error === signal.reason || (error instanceof StarlingError && error.code === 'aborted')
      if (!(signal.aborted && stopped)) {
        await stop()
        throw error
      }
      await this.#publish()
    }
    if (signal.aborted) {
      await stop()
      return
    }
    // A finished peer still gives its log and its sums, until the node stops, and says how much it holds to those that wait for it.
    stops.push(this.#log.onChange(() => this.#modules.swarm.announce({ round: this.#log.count })))
    // By then the records may be closed: what came after the end and is not on disk, others have.
    signal.addEventListener('abort', () => void stop().catch(() => undefined), { once: true })
  }

  /** The log of this peer and of others, and the sums of it: from a checkpoint, by replay or from another peer. */
  async #begin(signal: AbortSignal, stops: (() => unknown)[]): Promise<void> {
    const { swarm, learner, report } = this.#modules
    const started = swarm.clock.now()
    swarm.announce({ phase: 'joining', step: learner.step(), round: 0 }, true)
    await this.#log.open()
    this.#sync.start()
    stops.push(() => this.#sums.stop())
    stops.push(() => this.#sync.stop())
    await this.#despiteCrashes(() => learner.initial('base', signal))
    await this.#sync.ready(signal)
    await this.#despiteCrashes(() => this.#resume(signal))
    const parts: JoinModules = {
      ...this.#modules,
      log: this.#log,
      sums: this.#sums,
      sync: this.#sync,
      rule: this.#rule,
    }
    const fresh = this.#sums.version.size === 0
    const taken = await this.#despiteCrashes(() => catchUp(parts, signal))
    await this.#follow(signal)
    await learner.setStep(this.#step)
    if (fresh) {
      report({
        kind: 'joined',
        ...(taken === undefined ? {} : { donor: taken.donor }),
        step: this.#step,
        round: countOf(this.#sums.version),
        bytes: taken?.bytes ?? 0,
        milliseconds: swarm.clock.now() - started,
      })
    }
    const giving = giveSnapshots(parts)
    stops.push(() => giving.stop())
    swarm.announce({ phase: 'training', step: this.#step, round: countOf(this.#sums.version) }, true)
    await this.#evaluation.look(countOf(this.#sums.version), 'now', signal)
  }

  /** Takes over the sums of the checkpoint, if they are those of a set that the log still holds. */
  async #resume(signal: AbortSignal): Promise<void> {
    const { report, swarm } = this.#modules
    const version = this.#resumed
    if (version !== undefined && this.#sums.covers(version)) {
      const differing = await audit(
        { ...this.#modules, log: this.#log, rule: this.#rule },
        'sums',
        version,
        'checkpoint',
        signal,
      )
      if (differing === undefined) {
        this.#sums.assume(version)
        return
      }
    }
    if (version !== undefined && version.size > 0) {
      const reason = 'its sums are not those of the contributions on record; they are computed again from these'
      report({ kind: 'rejected', peer: swarm.self, what: 'checkpoint', reason })
    }
    await this.#sums.clear()
  }

  /** Does the work, again when the trainer died over it: it starts by itself, and gives up with another error when that happens too often. */
  async #despiteCrashes<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work()
      } catch (error) {
        if (!(error instanceof StarlingError && error.code === 'trainer-crashed')) {
          throw error
        }
        this.#sums.doubt()
      }
    }
  }

  /** Steps of this peer, those included that are still held back. */
  get #step(): number {
    const held = this.#held
    return held === undefined ? this.#log.bytesOf(this.#modules.swarm.self).length : held.from + held.bytes.length - 1
  }

  /** Brings theta in line with the set, and says what it stands for now. */
  async #follow(signal: AbortSignal): Promise<void> {
    const { swarm, report } = this.#modules
    if (this.#failure !== undefined) {
      throw this.#failure
    }
    if (swarm.clock.now() - this.#flushedAt >= FLUSH_EVERY) {
      // A checkpoint of sums that hold more than the disk does could not be taken further without others.
      await this.#log.flush()
      this.#flushedAt = swarm.clock.now()
    }
    const digest = await this.#despiteCrashes(() => this.#sums.follow(signal))
    if (digest === undefined) {
      return
    }
    const { version } = this.#sums
    const contributions = countOf(version)
    report({
      kind: 'contributions',
      contributions,
      authors: version.size,
      digest: toHex(digest.subarray(0, 8)),
      added: contributions - this.#told,
    })
    this.#told = contributions
    swarm.announce({ round: contributions })
  }

  /** One step of this peer, or the steps of one drift. */
  async #contributeOnce(signal: AbortSignal): Promise<void> {
    const { swarm, learner, report } = this.#modules
    const first = this.#step + 1
    const started = swarm.clock.now()
    const { bytes, loss, gradientNorm } = await this.#despiteCrashes(async () => {
      await this.#sums.refresh()
      return this.#contribute(first, signal)
    })
    this.#held ??= { from: first, bytes: [], since: started }
    const held = this.#held
    held.bytes.push(...bytes)
    const step = first + bytes.length - 1
    await learner.setStep(step)
    const milliseconds = swarm.clock.now() - started
    report({
      kind: 'step',
      step,
      loss,
      gradientNorm,
      learningRate: rateAt(this.#rule, step),
      milliseconds,
      samples: bytes.length,
    })
    swarm.announce({ step, loss })
    if (held.bytes.length >= this.#options.batch || swarm.clock.now() - held.since >= MAX_HELD) {
      await this.#publish()
    }
  }

  /** Signs what is held back, puts it on record, and only then tells the others. */
  async #publish(): Promise<void> {
    const held = this.#held
    if (held === undefined) {
      return
    }
    this.#held = undefined
    try {
      await this.#sync.publish(await this.#log.append(Uint8Array.from(held.bytes), held.from))
    } catch (error) {
      // Own contributions of an earlier life came back from others meanwhile, and these steps are taken: go on behind them.
      if (!(error instanceof StarlingError && error.code === 'own-log-moved')) {
        throw error
      }
    }
  }

  /** Waits for the others' contributions and ends with the parameters of all of them. */
  async #finish(signal: AbortSignal): Promise<void> {
    const { swarm, report } = this.#modules
    await this.#follow(signal)
    swarm.announce({ phase: 'finished', step: this.#step, round: countOf(this.#sums.version) }, true)
    const patience = this.#options.settle * 1_000
    await settle({ swarm, log: this.#log, sync: this.#sync, report }, { patience, signal }, () => this.#follow(signal))
    if (signal.aborted) {
      return
    }
    // The log must be that of the parameters: what comes from now on is in neither.
    do {
      await this.#follow(signal)
      signal.throwIfAborted()
    } while (!equalVersions(this.#sums.version, this.#log.version()))
    this.#final = encodeRunLog({ manifest: this.#modules.manifest, log: this.#log })
    await this.#evaluation.look(countOf(this.#sums.version), 'now', signal)
    report({ kind: 'finished', step: this.#step, round: countOf(this.#sums.version) })
  }
}

/** The set named by a checkpoint; undefined for anything else. */
function readVersion(progress: Record<string, unknown> | undefined): VersionVector | undefined {
  const { version } = progress ?? {}
  if (typeof version !== 'object' || version === null) {
    return undefined
  }
  const entries = Object.entries(version as Record<string, unknown>)
  const whole = entries.every(([, count]) => Number.isSafeInteger(count) && (count as number) > 0)
  return whole ? new Map(entries as [string, number][]) : undefined
}

/** SPSA, for the daemon's table of strategies. Its options are those of `spsaOptionsSchema`. */
export const spsa: StrategyDefinition<SpsaOptions> = {
  name: 'spsa',
  vectors: spsaVectors,
  tasks: spsaTasks,
  trains: ({ variant }) => variant === 'seeded',
  sharedBase: true,
  create: (options, modules, resumed) => new Spsa(options, modules, resumed),
}
