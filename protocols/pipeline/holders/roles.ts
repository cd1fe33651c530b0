/** What this peer does about who holds what: it takes the parts for which it is first in line. */
import type { Bell } from '../../bell.ts'
import { assign, type Wanted } from './assignment.ts'
import { type OwnPart, type OwnParts, rangeOf } from './own.ts'
import type { StartGate } from './start-gate.ts'
import { expected, type Kept, type TakeContext, takePart } from './take.ts'
import type { HoldersConfig, Taken } from './types.ts'
import type { StageView } from './view.ts'

/** Who is second in line for a part waits so long for the first, ms, and so on. */
const RANK_DELAY = 500

/** Longest pause between two looks at what is to be done, ms. */
const LOOK = 250

/** Pause after a part could not be taken, ms. */
const RETRY = 200

export interface RolesContext {
  config: HoldersConfig
  wanted: Wanted
  view: StageView
  own: OwnParts
  gate: StartGate
  bell: Bell
  /** Parts of an earlier process that still lie where they lay. */
  kept: Map<number, Kept>
  /** Step of the ends of which this peer keeps a copy. */
  keeps(): number | undefined
  /** The run is over. */
  ended(): boolean
  /** Tells the others what this peer holds now. */
  say(): void
}

export class Roles {
  readonly #context: RolesContext
  /** Since when a part has had nobody, ms; one for each part. */
  readonly #vacantSince = new Map<number, number>()
  #missing: readonly number[] = []

  constructor(context: RolesContext) {
    this.#context = context
  }

  /** Parts for which nobody has room. */
  get missing(): readonly number[] {
    return this.#missing
  }

  /** Looks, and acts, until aborted. Rejects with a fault of ours. */
  async watch(signal: AbortSignal): Promise<void> {
    const { bell, own, config } = this.#context
    let failure: { error: unknown } | undefined
    const fail = (error: unknown): void => {
      failure ??= { error }
      bell.ring()
    }
    while (!signal.aborted && failure === undefined) {
      this.#act(fail)
      await bell.wait(config.modules.swarm.clock, LOOK, signal)
    }
    for (const { part } of [...own]) {
      own.drop(part)
    }
    if (failure !== undefined) {
      throw failure.error
    }
  }

  #act(fail: (error: unknown) => void): void {
    const { config, view, gate, wanted, ended } = this.#context
    const { swarm } = config.modules
    const now = swarm.clock.now()
    const roles = view.roles(now)
    if (ended() || !gate.passes(roles)) {
      return
    }
    const { takes, missing } = assign(wanted, roles)
    this.#missing = missing
    const vacant = new Set(takes.map(({ part }) => part))
    for (const part of this.#vacantSince.keys()) {
      if (!vacant.has(part)) {
        this.#vacantSince.delete(part)
      }
    }
    for (const { part, line } of takes) {
      const since = this.#vacantSince.get(part) ?? now
      this.#vacantSince.set(part, since)
      const rank = line.indexOf(swarm.self)
      if (rank >= 0 && now - since >= rank * RANK_DELAY) {
        this.#take(part, fail)
      }
    }
  }

  #take(part: number, fail: (error: unknown) => void): void {
    const { own, say, kept } = this.#context
    const place = kept.get(part)?.place
    const claimed = own.claim(part, typeof place === 'number' ? place : undefined)
    if (claimed === undefined) {
      return
    }
    say()
    void this.#taking(claimed).catch((error: unknown) => {
      if (!claimed.stop.signal.aborted) {
        own.drop(part)
        fail(error)
      }
    })
  }

  async #taking(claimed: OwnPart): Promise<void> {
    const { config, bell } = this.#context
    const { clock } = config.modules.swarm
    const { signal } = claimed.stop
    const started = clock.now()
    while (!signal.aborted) {
      try {
        const taken = await takePart(this.#takeContext(claimed), claimed, signal)
        if (!signal.aborted) {
          this.#settle(claimed, taken, clock.now() - started)
        }
        return
      } catch (error) {
        expected(error, signal)
        await bell.wait(clock, RETRY, signal)
      }
    }
  }

  /** The part is there. */
  #settle(claimed: OwnPart, taken: Taken, milliseconds: number): void {
    const { config, kept, say } = this.#context
    const { part, place } = claimed
    const { how, from, degraded, bytes, ...course } = taken
    claimed.course = course
    claimed.origin = how
    claimed.state = 'ready'
    for (const old of [...kept.values()]) {
      if (old.part === part || old.place === place) {
        kept.delete(old.part)
      }
    }
    const { step } = course
    config.modules.report({ kind: 'stage-taken', stage: part, how, from, step, degraded, bytes, milliseconds })
    say()
  }

  #takeContext({ part, place }: OwnPart): TakeContext {
    const { config, own, view, kept, keeps } = this.#context
    const { modules, options, cut } = config
    const mine = kept.get(part)
    return {
      modules,
      options,
      view,
      own: (other) => own.ready(other)?.course,
      rangeOf: (other) => {
        const held = own.ready(other)
        return held === undefined ? undefined : rangeOf(cut, other, held.place)
      },
      kept: mine?.place === place ? mine : undefined,
      keeps: keeps(),
      onRejected: (peer, reason) => modules.report({ kind: 'rejected', peer, what: 'stage', reason }),
    }
  }
}
