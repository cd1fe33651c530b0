/**
 * Who holds which part, without a leader: every peer says what it holds (statements.ts), computes from what it sees who should hold what (assignment.ts), and
 * acts where that is itself (roles.ts). A part whose holder died is taken by the first in line, from a replica, from its neighbours or from the run's start (take.ts).
 */
import { Bell } from '../../bell.ts'
import { StarlingError } from '../../errors.ts'
import type { StageOrigin } from '../../events.ts'
import { sha256Hex } from '../../hash.ts'
import type { PeerName } from '../../ports.ts'
import { slotsOf } from '../options.ts'
import type { Held, Holders, LossReason } from '../types.ts'
import type { Wanted } from './assignment.ts'
import { Checkpoints } from './checkpoints.ts'
import { Copies, fetchCopy, type Source } from './copies.ts'
import { Ends } from './ends.ts'
import { Leaving } from './leaving.ts'
import type { Hold } from './messages.ts'
import { Moves } from './moves.ts'
import { Outer } from './outer.ts'
import { type OwnPart, OwnParts, rangeOf } from './own.ts'
import { Presence } from './presence.ts'
import { readHeld } from './records.ts'
import { Roles } from './roles.ts'
import { StartGate } from './start-gate.ts'
import type { Said } from './statements.ts'
import { Suspicions } from './suspicions.ts'
import { expected, type Kept } from './take.ts'
import type { HolderModules, HoldersConfig } from './types.ts'
import { StageView } from './view.ts'

export class StageHolders implements Holders {
  readonly bell = new Bell()
  readonly #config: HoldersConfig
  readonly #modules: HolderModules
  readonly #wanted: Wanted
  readonly #view: StageView
  readonly #own: OwnParts
  readonly #suspicions = new Suspicions()
  readonly #copies: Copies
  readonly #gate: StartGate
  readonly #ends: Ends
  readonly #moves: Moves
  readonly #checkpoints: Checkpoints
  readonly #outer: Outer
  readonly #leaving: Leaving
  readonly #roles: Roles
  readonly #presence: Presence
  readonly #kept: Map<number, Kept>
  readonly #stopped = new AbortController()
  readonly #stops: (() => void)[] = []
  #watching: Promise<void> = Promise.resolve()
  #msPerRow: number | undefined
  #failure: { error: unknown } | undefined
  #finishing = false
  #ended = false

  constructor(config: HoldersConfig) {
    const { modules, options, cut, resumed } = config
    const { self, run, clock } = modules.swarm
    const { dataPeers, replicas } = options
    this.#config = config
    this.#modules = modules
    this.#wanted = { run, stages: cut.stages, dataPeers, replicas }
    this.#view = new StageView({ self, stages: cut.stages, bytesOf: (part) => 4 * (cut.sizes[part] ?? 0) })
    this.#own = new OwnParts(cut.places)
    this.#kept = readHeld(resumed, cut)
    this.#copies = new Copies(modules, (part) => this.#sourceOf(part))
    this.#gate = new StartGate(clock, this.#wanted)
    const shared = { config, view: this.#view, own: this.#own, say: () => this.#say() }
    this.#ends = new Ends({
      ...shared,
      copies: this.#copies,
      ready: (part) => this.ready(part),
      epoch: () => this.#checkpoints.back.epoch,
    })
    this.#checkpoints = new Checkpoints({
      ...shared,
      ready: (part) => this.ready(part),
      taken: (own) => this.#taken(own),
    })
    this.#outer = new Outer(shared)
    this.#moves = new Moves({ ...shared, planned: (move) => this.#roles.planned(move) })
    this.#leaving = new Leaving(shared)
    this.#roles = new Roles({
      ...shared,
      wanted: this.#wanted,
      gate: this.#gate,
      bell: this.bell,
      kept: this.#kept,
      moves: this.#moves,
      checkpoints: this.#checkpoints,
      leaving: this.#leaving,
      keeps: () => this.#ends.take(),
      taken: (own) => this.#taken(own),
      late: (peer) => this.#presence.doubt(peer, true),
      ended: () => this.#ended,
    })
    this.#presence = new Presence({
      modules,
      stages: cut.stages,
      view: this.#view,
      own: this.#own,
      suspicions: this.#suspicions,
      said: () => this.#said(),
      gone: (peer) => this.#copies.gone(peer),
      changed: () => this.#changed(),
    })
  }

  async start(signal: AbortSignal): Promise<void> {
    const end = (): void => this.#end()
    signal.addEventListener('abort', end, { once: true })
    if (signal.aborted) {
      end()
    }
    this.#stops.push(() => signal.removeEventListener('abort', end))
    this.#copies.start()
    this.#stops.push(() => this.#copies.stop())
    this.#stops.push(this.#ends.start(this.#stopped.signal))
    this.#stops.push(this.#moves.start(this.#stopped.signal))
    this.#stops.push(this.#leaving.start())
    this.#stops.push(this.#checkpoints.start(this.#stopped.signal))
    this.#gate.open()
    this.#stops.push(await this.#presence.start(this.#stopped.signal))
    this.#watching = this.#roles.watch(this.#stopped.signal)
    this.#watching.catch((error: unknown) => this.#fail(error))
  }

  async stop(): Promise<void> {
    this.#end()
    try {
      await this.#watching
      if (this.#failure !== undefined) {
        throw this.#failure.error
      }
    } finally {
      await this.#outer.stop()
      await this.#ends.settled()
      await this.#checkpoints.settled()
      await this.#presence.stop()
      for (const stop of this.#stops.splice(0).reverse()) {
        stop()
      }
    }
  }

  // What the flow asks.

  ready(part: number): readonly PeerName[] {
    const { swarm } = this.#modules
    const now = swarm.clock.now()
    const holders = this.#view
      .holders(part, now)
      .filter(({ peer }) => peer === swarm.self || !this.#suspicions.has(part, peer, now))
    if (holders.length < 2) {
      return holders.map(({ peer }) => peer)
    }
    return holders
      .map(({ peer }) => ({
        peer,
        strikes: this.#suspicions.strikes(part, peer, now),
        key: sha256Hex(JSON.stringify(['pipeline-role', swarm.run, part, peer])),
      }))
      .sort((a, b) => a.strikes - b.strikes || (a.key < b.key ? -1 : 1))
      .map(({ peer }) => peer)
  }

  dataPeers(): readonly PeerName[] {
    return [...this.ready(0)].sort()
  }

  held(part: number): Held | undefined {
    const own = this.#own.ready(part)
    return own === undefined
      ? undefined
      : { stage: part, place: own.place, ...own.course, epoch: this.#checkpoints.back.epoch }
  }

  holds(): readonly Held[] {
    return [...this.#own].flatMap(({ part }) => this.held(part) ?? [])
  }

  update(part: number, { step, norm }: { step: number; norm: number }): void {
    // Also of a stage that is just being given away: the step was taken before it was stopped.
    const course = this.#own.get(part)?.course
    if (course === undefined) {
      return
    }
    course.step = step
    course.applied++
    course.norm = norm
    this.#checkpoints.stepped(part, this.#stopped.signal)
    this.#outer.stepped(part, (error) => this.#fail(error))
    if (part === 0) {
      this.#ends.give(this.#stopped.signal)
    } else {
      this.#moves.stepped(part)
    }
  }

  suspect(part: number, peer: PeerName, reason: LossReason): void {
    const { swarm } = this.#modules
    if (peer !== swarm.self) {
      this.#suspicions.add(part, peer, reason, swarm.clock.now())
      this.#presence.doubt(peer)
      this.#say()
    }
  }

  speed(peer: PeerName): number | undefined {
    return this.#view.statement(peer)?.msPerRow
  }

  measured(milliseconds: number): void {
    this.#msPerRow = milliseconds
  }

  origin(part: number, peer: PeerName): StageOrigin | undefined {
    return this.#view.statement(peer)?.holds.find((hold) => hold.part === part)?.origin
  }

  async fetch(part: number, into: Float32Array, signal: AbortSignal): Promise<{ step: number }> {
    const { swarm, learner } = this.#modules
    const own = this.#own.ready(part)
    if (own !== undefined) {
      const { begin, end } = rangeOf(this.#config.cut, part, own.place)
      into.set(learner.float32('theta').subarray(begin, end))
      return { step: own.course.step }
    }
    const bytes = new Uint8Array(into.buffer, into.byteOffset, into.byteLength)
    for (const peer of this.ready(part)) {
      try {
        const { step } = await fetchCopy(this.#modules, peer, part, bytes, signal)
        if (into.every((value) => Number.isFinite(value))) {
          return { step }
        }
        swarm.penalize(peer, 'bad-tensor')
      } catch (error) {
        expected(error, signal)
      }
    }
    throw new StarlingError('no-holder', `nobody gave ${nameOf(part)}`, { part })
  }

  waiting(): string | undefined {
    const before = this.#gate.waiting(this.#view.roles(this.#modules.swarm.clock.now()))
    if (before !== undefined) {
      return before
    }
    const parts = Array.from({ length: this.#wanted.stages + 1 }, (_, part) => part)
    const lacking = parts.filter((part) => this.ready(part).length === 0)
    if (lacking.length === 0) {
      return undefined
    }
    const room = lacking.some((part) => this.#roles.missing.includes(part)) ? ', for which nobody has room' : ''
    return `a holder of ${lacking.map(nameOf).join(', ')}${room}`
  }

  finish(): void {
    this.#finishing = true
    this.#say()
  }

  finished(): boolean {
    return this.#ended
  }

  progress(): Record<string, unknown> {
    const holds = this.holds().filter(({ stage }) => stage > 0)
    const ends = this.held(0)
    return { holds, data: ends !== undefined, ...(ends === undefined ? {} : { ends }) }
  }

  // What is said.

  #said(): Said {
    const now = this.#modules.swarm.clock.now()
    return {
      // The last statement: what is kept for the checkpoint is not served any more.
      holds: this.#stopped.signal.aborted ? [] : this.#own.said(),
      places: this.#config.cut.places,
      slots: slotsOf(this.#config.options),
      ...(this.#msPerRow === undefined ? {} : { msPerRow: this.#msPerRow }),
      lost: this.#own.ready(0) === undefined ? [] : this.#suspicions.told(now),
      ...(this.#ends.keeps === undefined ? {} : { keeps: this.#ends.keeps }),
      back: this.#checkpoints.back,
      copies: this.#checkpoints.said(),
      finished: this.#finishing,
      kept: [...this.#kept.values()].map(({ part, step }) => ({ part, step })),
    }
  }

  #say(): void {
    this.#presence.say()
    this.#changed()
  }

  /** A part is there. */
  #taken(own: OwnPart): void {
    if (own.part === 0) {
      this.#ends.taken()
    }
    this.#outer.taken(own).catch((error: unknown) => this.#fail(error))
  }

  /** A fault of ours ends the holders. A stop is none. */
  #fail(error: unknown): void {
    if (!this.#stopped.signal.aborted) {
      this.#failure = { error }
      this.#end()
      this.#config.onBroken?.(error)
    }
  }

  #changed(): void {
    this.#lookForEnd()
    this.#outer.tidy()
    this.bell.ring()
  }

  /** The run is over when every data peer says so; from then on nobody has to be replaced. */
  #lookForEnd(): void {
    const { swarm, training } = this.#modules
    const dataPeers = this.#view.holders(0, swarm.clock.now())
    const through = ({ peer, hold }: { peer: PeerName; hold: Hold }): boolean =>
      this.#view.statement(peer)?.finished === true && hold.step >= training.steps
    this.#ended ||= dataPeers.length > 0 && dataPeers.every(through)
  }

  #end(): void {
    this.#stopped.abort(new StarlingError('aborted', 'the holders were stopped', {}))
    this.bell.ring()
  }

  #sourceOf(part: number): Source | undefined {
    const own = this.#own.ready(part)
    if (own !== undefined) {
      return { range: rangeOf(this.#config.cut, part, own.place), course: () => own.course }
    }
    return part === 0 ? this.#ends.source() : undefined
  }
}

const nameOf = (part: number): string => (part === 0 ? 'the ends' : `stage ${part}`)
