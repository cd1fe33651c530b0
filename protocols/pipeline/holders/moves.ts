/**
 * A stage that goes from one peer to another with its optimizer's state, to the bit. The taker asks, the giver stops using the stage right after a step, lets it be fetched from where
 * it lies, and has given it away when the taker says that it has it.
 */
import { Bell } from '../../bell.ts'
import { StarlingError } from '../../errors.ts'
import type { PeerName } from '../../ports.ts'
import type { BlobReference } from '../../transfer/index.ts'
import type { Move } from './assignment.ts'
import { read } from './copies.ts'
import { handedOverQuestion, handOverAnswer, handOverQuestion, METHODS, QUICK_TIMEOUT } from './messages.ts'
import { type OwnPart, type OwnParts, rangeOf } from './own.ts'
import { inspect } from './take.ts'
import { aliveTask } from './tasks.ts'
import type { HoldersConfig, Taken } from './types.ts'
import type { StageView } from './view.ts'

/** The giver waits so long for the end of a step, ms; then what is under way is begun again by its data peer. */
const QUIET_WAIT = 3_000

/** Whole time for the giver to answer, ms: the end of a step, and hashing. */
const NAME_TIMEOUT = 15_000

/** The giver keeps a stage for the taker so long, ms, beside {@link SLOWEST}; then it uses it again. */
const GIVE_TTL = 10_000

/** Rate at which a stage is at least fetched, bytes per ms (2 Mbit/s). */
const SLOWEST = 250

/** A giver that cannot be told that the taker has the stage is asked again so often, ms, and given up after so long, ms. */
const TELL_AGAIN = 200
const TELL_PATIENCE = 5_000

export interface MovesContext {
  config: HoldersConfig
  view: StageView
  own: OwnParts
  /** Whether this peer, too, sees that the stage is to go from it to that peer. */
  planned(move: Move): boolean
  say(): void
}

export class Moves {
  readonly #context: MovesContext
  readonly #bell = new Bell()
  /** The stage that this peer is giving away; one at a time. */
  #giving: { stage: number; to: PeerName; state: 'waiting' | 'stopped' | 'given' | 'kept' } | undefined

  constructor(context: MovesContext) {
    this.#context = context
  }

  /** Begins to answer; returns how to stop that. */
  start(signal: AbortSignal): () => void {
    const { swarm } = this.#context.config.modules
    const stops = [
      swarm.answer(METHODS.handOver, (from, question) => this.#onHandOver(from, question, signal)),
      swarm.answer(METHODS.handedOver, (from, question) => this.#onHandedOver(from, question)),
    ]
    return () => {
      for (const stop of stops.reverse()) {
        stop()
      }
    }
  }

  /** A step of that stage is over: the moment to stop using it, where it is to go. */
  stepped(stage: number): void {
    const giving = this.#giving
    if (giving?.stage === stage && giving.state === 'waiting') {
      this.#stopUsing(giving)
    }
  }

  /** Takes over a stage for which `own` was claimed. Throws StarlingError when it cannot be had. */
  async take(own: OwnPart, giver: PeerName, signal: AbortSignal): Promise<Taken> {
    const { config } = this.#context
    const { swarm, stages, learner, blobs } = config.modules
    const { part: stage, place } = own
    const range = rangeOf(config.cut, stage, place)
    if (place === 'ends') {
      throw new StarlingError('bad-stage', 'the ends do not move', {})
    }
    try {
      const question = handOverQuestion.encode({ stage })
      const answer = await swarm.ask(giver, METHODS.handOver, question, { signal, timeout: NAME_TIMEOUT })
      const { vectors, ...course } = read(swarm, giver, handOverAnswer, answer)
      const names = ['theta', ...stages.moments]
      const bytes = 4 * (range.end - range.begin)
      if (vectors.length !== names.length || vectors.some(({ size }) => size !== bytes)) {
        swarm.penalize(giver, 'bad-tensor')
        throw new StarlingError('bad-tensor', `its stage ${stage} has other vectors than ours`, { giver, stage })
      }
      await stages.hold(place, stage, true)
      for (const [index, name] of names.entries()) {
        const into = learner.bytes(name).subarray(4 * range.begin, 4 * range.end)
        await blobs.pull([giver], vectors[index]!, into, { signal })
        await inspect(config.modules, name, range, signal)
      }
      await this.#tell(stage, giver, signal)
      return { ...course, how: 'moved', from: [giver], degraded: false, bytes: bytes * names.length }
    } catch (error) {
      const failed = handedOverQuestion.encode({ stage, taken: false })
      swarm.ask(giver, METHODS.handedOver, failed, { timeout: QUICK_TIMEOUT }).catch(() => undefined)
      throw error
    }
  }

  /** Tells the giver that the stage is here. Resolves when it knows, or is gone for good or for so long that two holders are the lesser evil. */
  async #tell(stage: number, giver: PeerName, signal: AbortSignal): Promise<void> {
    const { config, view } = this.#context
    const { swarm } = config.modules
    const question = handedOverQuestion.encode({ stage, taken: true })
    const until = swarm.clock.now() + TELL_PATIENCE
    for (;;) {
      try {
        await swarm.ask(giver, METHODS.handedOver, question, { signal, timeout: QUICK_TIMEOUT })
        return
      } catch (error) {
        if (!(error instanceof StarlingError) || error.code === 'not-given' || signal.aborted) {
          throw error
        }
        if (!view.lives(giver, swarm.clock.now()) || swarm.clock.now() >= until) {
          return
        }
      }
      await swarm.clock.sleep(TELL_AGAIN, signal)
    }
  }

  async #onHandOver(from: PeerName, question: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const { config, own, planned } = this.#context
    const { swarm, learner, blobs, stages } = config.modules
    const { stage } = read(swarm, from, handOverQuestion, question)
    const part = own.ready(stage)
    if (part === undefined || this.#giving !== undefined || !planned({ stage, from: swarm.self, to: from })) {
      throw new StarlingError('not-given', `stage ${stage} is not to go from here to ${from}`, { stage })
    }
    const giving = { stage, to: from, state: 'waiting' as const }
    this.#giving = giving
    const offers: { bytes: Uint8Array; reference: BlobReference }[] = []
    try {
      await this.#quiet(signal)
      // A step that was under way when the wait was over is through when this is.
      await learner.compute(aliveTask, null, signal)
      const range = rangeOf(config.cut, stage, part.place)
      const ttl = GIVE_TTL + ((1 + stages.moments.length) * 4 * (range.end - range.begin)) / SLOWEST
      for (const name of ['theta', ...stages.moments]) {
        const bytes = learner.bytes(name).subarray(4 * range.begin, 4 * range.end)
        offers.push({ bytes, reference: await blobs.offer(bytes, { ttl, signal }) })
      }
      void this.#give(offers, swarm.clock.now() + ttl, signal)
      const { step, applied, rate, norm } = part.course
      const vectors = offers.map(({ reference }) => reference)
      return handOverAnswer.encode({ step, applied, rate, vectors, ...(norm === undefined ? {} : { norm }) })
    } catch (error) {
      this.#takeBack(offers)
      throw error
    }
  }

  /** Waits for the end of a step, and stops using the stage. */
  async #quiet(signal: AbortSignal): Promise<void> {
    const giving = this.#giving
    const { clock } = this.#context.config.modules.swarm
    if (giving?.state === 'waiting') {
      await this.#bell.wait(clock, QUIET_WAIT, signal)
    }
    if (signal.aborted) {
      throw new StarlingError('aborted', 'the move was given up', {})
    }
    if (giving?.state === 'waiting') {
      this.#stopUsing(giving)
    }
  }

  #stopUsing(giving: { stage: number; state: string }): void {
    const part = this.#context.own.ready(giving.stage)
    giving.state = 'stopped'
    if (part !== undefined) {
      part.state = 'leaving'
      this.#context.say()
    }
    this.#bell.ring()
  }

  /** Waits until the taker has the stage, or fails to. */
  async #give(
    offers: { bytes: Uint8Array; reference: BlobReference }[],
    until: number,
    signal: AbortSignal,
  ): Promise<void> {
    const { config, view, own, say } = this.#context
    const { swarm, report, blobs } = config.modules
    const giving = this.#giving
    while (
      giving?.state === 'stopped' &&
      !signal.aborted &&
      swarm.clock.now() < until &&
      view.lives(giving.to, swarm.clock.now())
    ) {
      await this.#bell.wait(swarm.clock, Math.min(TELL_AGAIN, until - swarm.clock.now()), signal)
    }
    if (giving?.state !== 'given') {
      this.#takeBack(offers)
      return
    }
    this.#giving = undefined
    for (const { bytes, reference } of offers) {
      blobs.withdraw(reference.root, bytes)
    }
    const step = own.get(giving.stage)?.course?.step ?? 0
    own.drop(giving.stage)
    report({ kind: 'stage-left', stage: giving.stage, to: giving.to, step })
    say()
  }

  /** The stage stays, and is used again. */
  #takeBack(offers: { bytes: Uint8Array; reference: BlobReference }[]): void {
    const { config, own, say } = this.#context
    const part = this.#giving === undefined ? undefined : own.get(this.#giving.stage)
    this.#giving = undefined
    for (const { bytes, reference } of offers) {
      config.modules.blobs.withdraw(reference.root, bytes)
    }
    if (part?.state === 'leaving') {
      part.state = 'ready'
      say()
    }
  }

  #onHandedOver(from: PeerName, question: Uint8Array): Uint8Array {
    const { swarm } = this.#context.config.modules
    const { stage, taken } = read(swarm, from, handedOverQuestion, question)
    const giving = this.#giving
    if (giving?.stage !== stage || giving.to !== from || (giving.state !== 'stopped' && giving.state !== 'given')) {
      throw new StarlingError('not-given', `stage ${stage} was not given to ${from}`, { stage })
    }
    giving.state = taken ? 'given' : 'kept'
    this.#bell.ring()
    return new Uint8Array(0)
  }
}
