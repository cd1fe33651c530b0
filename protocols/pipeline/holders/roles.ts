/** What this peer does about who holds what: it takes the parts for which it is first in line. */
import type { Bell } from '../../bell.ts'
import { StarlingError } from '../../errors.ts'
import type { PeerName } from '../../ports.ts'
import { type Assignment, assign, type Move, type Wanted } from './assignment.ts'
import type { Checkpoints } from './checkpoints.ts'
import type { Leaving } from './leaving.ts'
import type { Moves } from './moves.ts'
import { type OwnPart, type OwnParts, rangeOf } from './own.ts'
import type { StartGate } from './start-gate.ts'
import { expected, type Kept, type TakeContext, takePart } from './take.ts'
import type { HoldersConfig, Taken } from './types.ts'
import type { StageView } from './view.ts'

/** A move must have been due so long, ms, before it is begun, and so long again after it failed: what is seen of others settles first. */
const MOVE_SETTLE = 2_000

/** Who is second in line for a part waits so long for the first, ms, and so on. */
const RANK_DELAY = 500

/** The same before the first step: those who begin at once do not see each other at once, and nothing is lost by waiting. */
const START_RANK_DELAY = 2_000

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
  moves: Moves
  checkpoints: Checkpoints
  leaving: Leaving
  /** See {@link TakeContext.keeps}. */
  keeps(): Promise<number | undefined>
  /** A part has come to this peer. */
  taken(own: OwnPart): void
  /** A peer is late to speak. */
  late(peer: PeerName): void
  /** The run is over. */
  ended(): boolean
  /** Tells the others what this peer holds now. */
  say(): void
}

export class Roles {
  readonly #context: RolesContext
  /** Since when a part has had nobody, ms; one for each part. */
  readonly #vacantSince = new Map<number, number>()
  /** Since when a move to this peer has been due, ms, by stage and giver; what is not due any more is dropped. */
  readonly #dueSince = new Map<string, number>()
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
      this.#act(fail, signal)
      await bell.wait(config.modules.swarm.clock, LOOK, signal)
    }
    // What is ready stays: the checkpoint at a stop asks for it.
    for (const { part, state } of [...own]) {
      if (state !== 'ready') {
        own.drop(part)
      }
    }
    if (failure !== undefined) {
      throw failure.error
    }
  }

  #act(fail: (error: unknown) => void, signal: AbortSignal): void {
    const { config, view, gate, wanted, ended, leaving, checkpoints, late } = this.#context
    const { swarm } = config.modules
    const now = swarm.clock.now()
    checkpoints.look(signal)
    for (const peer of view.late(now)) {
      late(peer)
    }
    const roles = view.roles(now)
    if (ended() || !gate.passes(roles)) {
      return
    }
    const { takes, moves, leaves, missing } = assign(wanted, roles)
    this.#missing = missing
    const vacant = new Set(takes.map(({ part }) => part))
    for (const part of this.#vacantSince.keys()) {
      if (!vacant.has(part)) {
        this.#vacantSince.delete(part)
      }
    }
    const delay = view.newestStep() === 0 ? START_RANK_DELAY : RANK_DELAY
    for (const { part, line } of takes) {
      const since = this.#vacantSince.get(part) ?? now
      this.#vacantSince.set(part, since)
      const rank = line.indexOf(swarm.self)
      if (rank >= 0 && now - since >= rank * delay) {
        this.#take(part, fail)
      }
    }
    this.#moveIn(moves, fail)
    for (const leave of leaves.filter(({ peer }) => peer === swarm.self)) {
      leaving.leave(leave, signal).catch(fail)
    }
  }

  /** Whether a stage is to go from one peer to another, as this peer sees it. */
  planned({ stage, from, to }: Move): boolean {
    const { config, view, wanted } = this.#context
    // The taker has claimed the stage already: for the question whether it is to have it, it has not.
    const roles = view.roles(config.modules.swarm.clock.now()).map((each) => ({
      ...each,
      holds: each.holds.filter(({ part, state }) => each.peer !== to || part !== stage || state !== 'taking'),
    }))
    return assign(wanted, roles).moves.some((move) => move.stage === stage && move.from === from && move.to === to)
  }

  /** Takes over what is to come from peers with more roles. */
  #moveIn(moves: Assignment['moves'], fail: (error: unknown) => void): void {
    const { own, say, config, moves: carrier } = this.#context
    const { swarm } = config.modules
    const now = swarm.clock.now()
    const due = new Map(moves.filter(({ to }) => to === swarm.self).map((move) => [`${move.stage} ${move.from}`, move]))
    for (const key of this.#dueSince.keys()) {
      if (!due.has(key)) {
        this.#dueSince.delete(key)
      }
    }
    for (const [key, { stage, from }] of due) {
      const since = this.#dueSince.get(key) ?? now
      this.#dueSince.set(key, since)
      const claimed = now - since >= MOVE_SETTLE ? own.claim(stage) : undefined
      if (claimed !== undefined) {
        say()
        const { signal } = claimed.stop
        carrier
          .take(claimed, from, signal)
          .then((taken) => signal.aborted || this.#settle(claimed, taken, swarm.clock.now() - now))
          .catch((error: unknown) => {
            if (!signal.aborted) {
              own.drop(stage)
              this.#dueSince.set(key, swarm.clock.now())
              say()
              if (!(error instanceof StarlingError)) {
                fail(error)
              }
            }
          })
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
    const context = this.#takeContext(claimed)
    while (!signal.aborted) {
      try {
        const taken = await takePart(context, claimed, signal)
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
    const { config, kept, say, taken: tell } = this.#context
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
    tell(claimed)
    const { step } = course
    config.modules.report({ kind: 'stage-taken', stage: part, how, from, step, degraded, bytes, milliseconds })
    say()
  }

  #takeContext({ part, place }: OwnPart): TakeContext {
    const { config, own, view, kept, keeps, checkpoints } = this.#context
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
      keeps,
      checkpoints,
      refused: new Set(),
      onRejected: (peer, reason) => modules.report({ kind: 'rejected', peer, what: 'stage', reason }),
    }
  }
}
