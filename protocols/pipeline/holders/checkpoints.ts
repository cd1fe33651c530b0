/**
 * `recovery: checkpoint`, with which the other rules are compared: every so many steps each holder keeps its part, moments included, in memory and gives a copy to the holder of the next part
 * (the last stage to the data peer, the ends to the first stage). When a part is lost, its new holder takes the kept copy, and everybody goes back to that step.
 *
 * Times that the run was set back are counted: a higher count, and with equal counts the lower step, is what counts (two that set the run back at once agree afterwards).
 */
import { StarlingError } from '../../errors.ts'
import type { PeerName } from '../../ports.ts'
import { read } from './copies.ts'
import { checkpointQuestion, copyAnswer, fetchCheckpointQuestion, METHODS, type Statement } from './messages.ts'
import { type OwnPart, type OwnParts, rangeOf } from './own.ts'
import { checkScale, expected, inspect } from './take.ts'
import { aliveTask } from './tasks.ts'
import type { Course, HoldersConfig, Taken } from './types.ts'
import type { StageView } from './view.ts'

/** Checkpoints kept of one part: the newest that everybody has, and the one after it. */
const GENERATIONS = 2

/** Peers that must have a copy of each part of a checkpoint for the one before to be dropped: one of them may die. */
const SAFE = 2

/** Whole time for a copy to be fetched or named, ms, beside {@link SLOWEST}. */
const TIMEOUT = 10_000

/** Rate at which a copy is at least fetched, bytes per ms (2 Mbit/s). */
const SLOWEST = 250

interface Copy {
  course: Course
  /** Parameters, then each vector of the optimizer. */
  bytes: Uint8Array
}

/** How often the run was set back, and to where the last time. */
export type SetBack = Statement['back']

export interface CheckpointsContext {
  config: HoldersConfig
  view: StageView
  own: OwnParts
  ready(part: number): readonly PeerName[]
  /** A part of this peer is another now than it was. */
  taken(own: OwnPart): void
  say(): void
}

export class Checkpoints {
  readonly #context: CheckpointsContext
  /** By part and step; at most {@link GENERATIONS} of each part that this peer holds, or whose next part it holds. */
  readonly #copies = new Map<number, Map<number, Copy>>()
  #back: SetBack = { epoch: 0, step: 0 }
  #settingBack: Promise<void> = Promise.resolve()

  constructor(context: CheckpointsContext) {
    this.#context = context
  }

  /** Begins to answer; returns how to stop that. */
  start(signal: AbortSignal): () => void {
    const { swarm } = this.#context.config.modules
    const stops = [
      swarm.answer(METHODS.checkpoint, (from, question) => this.#onCheckpoint(from, question, signal)),
      swarm.answer(METHODS.fetchCheckpoint, (from, question) => this.#onFetch(from, question, signal)),
    ]
    return () => {
      for (const stop of stops.reverse()) {
        stop()
      }
    }
  }

  /** Whether the run recovers this way. */
  get used(): boolean {
    return this.#context.config.options.recovery === 'checkpoint'
  }

  get back(): SetBack {
    return this.#back
  }

  /** What others are told: which copies this peer has. */
  said(): Statement['copies'] {
    return [...this.#copies].flatMap(([part, steps]) => [...steps.keys()].map((step) => ({ part, step })))
  }

  /** A part went through a step: time for a copy, or not. Called right after the step. */
  stepped(part: number, signal: AbortSignal): void {
    const { own, config } = this.#context
    const held = own.ready(part)
    if (this.used && held !== undefined && held.course.step % config.options.checkpointEvery === 0) {
      this.#keep(held, { ...held.course }, signal).catch((error: unknown) => {
        if (!(error instanceof StarlingError)) {
          throw error
        }
      })
    }
  }

  /**
   * A lost part from the newest checkpoint that is complete, and with it the run's going back. Undefined where there is none: nobody has come to the first one, or too much was
   * lost at once.
   */
  async take(own: OwnPart, signal: AbortSignal): Promise<Taken | undefined> {
    const { config, view, say } = this.#context
    const { modules, cut, options } = config
    const step = this.#complete(1)
    if (step === undefined && view.newestStep() >= options.checkpointEvery) {
      return undefined
    }
    const from: PeerName[] = []
    let course: Course = { step: 0, applied: 0, rate: 1 }
    if (step === undefined) {
      await modules.stages.initial(own.part, own.place, signal)
    } else {
      const fetched = await this.#copyOf(own.part, step, signal)
      await this.#restore(own, fetched.copy, signal)
      course = { ...fetched.copy.course }
      from.push(fetched.peer)
    }
    this.#back = { epoch: this.#back.epoch + 1, step: course.step }
    say()
    await this.#goBack(signal)
    const bytes = step === undefined ? 0 : this.#sizeOf(own.part)
    return { ...course, how: 'checkpoint', from, degraded: false, bytes: cut.sizes.length > 0 ? bytes : 0 }
  }

  /** Looks who says that the run was set back, and goes along where that can be true. */
  look(signal: AbortSignal): void {
    const { view, config } = this.#context
    const { clock, self } = config.modules.swarm
    for (const peer of this.used ? view.peers(clock.now()) : []) {
      const back = view.statement(peer)?.back
      const { epoch, step } = this.#back
      const further = back !== undefined && (back.epoch > epoch || (back.epoch === epoch && back.step < step))
      if (peer !== self && further && this.#plausible(peer, back)) {
        this.#back = { ...back }
        this.#settingBack = this.#settingBack.then(() => this.#goBack(signal))
        this.#settingBack.catch(() => undefined)
      }
    }
  }

  /** Resolves when this peer has gone back as far as it knows that it must. Rejects with a fault of ours. */
  async settled(): Promise<void> {
    await this.#settingBack
  }

  /** Only who took a part that nobody else holds sets the run back; or most of the others have gone along already. */
  #plausible(peer: PeerName, back: SetBack): boolean {
    const { view, config } = this.#context
    const { clock, self } = config.modules.swarm
    const now = clock.now()
    const took = (view.statement(peer)?.holds ?? []).some(
      ({ part, state, origin }) =>
        (state === 'taking' || origin === 'checkpoint') &&
        view.holders(part, now).every((holder) => holder.peer === peer),
    )
    const others = view.peers(now).filter((other) => other !== self)
    const along = others.filter((other) => other === peer || view.statement(other)?.back.epoch === back.epoch)
    return took || 2 * along.length > others.length
  }

  /** Every ready part of this peer <- its copy of the step to which the run was set back. A part without one is another's to take. */
  async #goBack(signal: AbortSignal): Promise<void> {
    const { own, config, say, taken } = this.#context
    const { step, epoch } = this.#back
    for (const held of [...own]) {
      if (held.state !== 'ready') {
        continue
      }
      held.state = 'taking'
      try {
        // A step that was under way is through when this is.
        await config.modules.learner.compute(aliveTask, null, signal)
        if (step === 0) {
          await config.modules.stages.initial(held.part, held.place, signal)
          held.course = { step: 0, applied: 0, rate: 1 }
        } else {
          const { copy } = await this.#copyOf(held.part, step, signal)
          await this.#restore(held, copy, signal)
          held.course = { ...copy.course }
        }
        held.origin = 'checkpoint'
        held.state = 'ready'
        taken(held)
      } catch (error) {
        expected(error, signal)
        own.drop(held.part)
      }
      if (this.#back.epoch !== epoch || this.#back.step !== step) {
        break
      }
    }
    for (const steps of this.#copies.values()) {
      for (const kept of [...steps.keys()]) {
        if (kept > step) {
          steps.delete(kept)
        }
      }
    }
    say()
  }

  /** The newest step of which so many living peers have a copy of every part. */
  #complete(peers: number): number | undefined {
    const { view, config } = this.#context
    const now = config.modules.swarm.clock.now()
    const counts = new Map<number, number[]>()
    for (const peer of view.peers(now)) {
      for (const { part, step } of view.statement(peer)?.copies ?? []) {
        const ofStep = counts.get(step) ?? config.cut.sizes.map(() => 0)
        counts.set(step, ofStep)
        ofStep[part] = (ofStep[part] ?? 0) + 1
      }
    }
    const complete = [...counts].filter(([, ofStep]) => ofStep.every((count) => count >= peers)).map(([step]) => step)
    return complete.length === 0 ? undefined : Math.max(...complete)
  }

  /** Keeps a copy of an own part, and lets the holder of the next part have one. */
  async #keep(held: OwnPart, course: Course, signal: AbortSignal): Promise<void> {
    const { config, ready, say } = this.#context
    const { swarm, learner, blobs, stages } = config.modules
    const { begin, end } = rangeOf(config.cut, held.part, held.place)
    // Copied before the next step of this part can be asked for. Some milliseconds for ten megabytes, on this thread: this rule is there to be compared with.
    const bytes = new Uint8Array(this.#sizeOf(held.part))
    for (const [index, name] of ['theta', ...stages.moments].entries()) {
      bytes.set(learner.bytes(name).subarray(4 * begin, 4 * end), index * 4 * (end - begin))
    }
    this.#add(held.part, { course, bytes })
    say()
    const reference = await blobs.offer(bytes, { ttl: TIMEOUT + bytes.byteLength / SLOWEST, signal })
    const { step, applied, rate, norm } = course
    const known = norm === undefined ? {} : { norm }
    const question = checkpointQuestion.encode({ part: held.part, step, applied, rate, ...known, ...reference })
    const parts = config.cut.sizes.length
    for (let next = 1; next < parts; next++) {
      const peer = ready((held.part + next) % parts).find((each) => each !== swarm.self)
      if (peer !== undefined && (await this.#give(peer, question, bytes.byteLength, signal))) {
        break
      }
    }
    blobs.withdraw(reference.root, bytes)
  }

  async #give(peer: PeerName, question: Uint8Array, size: number, signal: AbortSignal): Promise<boolean> {
    const { swarm } = this.#context.config.modules
    try {
      await swarm.ask(peer, METHODS.checkpoint, question, { signal, timeout: TIMEOUT + size / SLOWEST })
      return true
    } catch (error) {
      expected(error, signal)
      return false
    }
  }

  #add(part: number, copy: Copy): void {
    const steps = this.#copies.get(part) ?? new Map<number, Copy>()
    this.#copies.set(part, steps)
    steps.set(copy.course.step, copy)
    const safe = this.#complete(SAFE)
    const order = [...steps.keys()].sort((a, b) => b - a)
    // The newest that everybody has stays, whatever comes.
    const kept = new Set([order[0], order.find((step) => safe !== undefined && step <= safe) ?? order[1]])
    for (const step of order) {
      if (!kept.has(step)) {
        steps.delete(step)
      }
    }
    if (steps.size > GENERATIONS) {
      throw new StarlingError('internal', 'more checkpoints of a part than are needed', { part })
    }
  }

  /** A copy, this peer's own or fetched from one that says that it has it. */
  async #copyOf(part: number, step: number, signal: AbortSignal): Promise<{ copy: Copy; peer: PeerName }> {
    const { view, config } = this.#context
    const { swarm, blobs } = config.modules
    const mine = this.#copies.get(part)?.get(step)
    if (mine !== undefined) {
      return { copy: mine, peer: swarm.self }
    }
    for (const peer of view.peers(swarm.clock.now())) {
      const has = view.statement(peer)?.copies.some((copy) => copy.part === part && copy.step === step)
      if (has !== true || peer === swarm.self) {
        continue
      }
      try {
        const question = fetchCheckpointQuestion.encode({ part, step })
        const answer = await swarm.ask(peer, METHODS.fetchCheckpoint, question, { signal, timeout: TIMEOUT })
        const { root, size, ...course } = read(swarm, peer, copyAnswer, answer)
        if (size !== this.#sizeOf(part) || course.step !== step) {
          swarm.penalize(peer, 'bad-tensor')
          continue
        }
        const bytes = new Uint8Array(size)
        await blobs.pull([peer], { root, size }, bytes, { signal })
        return { copy: { course, bytes }, peer }
      } catch (error) {
        expected(error, signal)
      }
    }
    throw new StarlingError('no-holder', `nobody gave the copy of part ${part} of step ${step}`, { part, step })
  }

  /** The place of a part <- a copy, looked at first. */
  async #restore({ part, place }: OwnPart, { bytes }: Copy, signal: AbortSignal): Promise<void> {
    const { config } = this.#context
    const { stages, learner } = config.modules
    const range = rangeOf(config.cut, part, place)
    const length = 4 * (range.end - range.begin)
    await stages.initial(part, place, signal)
    const start = await inspect(config.modules, 'theta', range, signal)
    for (const [index, name] of ['theta', ...stages.moments].entries()) {
      learner.bytes(name).set(bytes.subarray(index * length, (index + 1) * length), 4 * range.begin)
      const scale = await inspect(config.modules, name, range, signal)
      if (index === 0) {
        checkScale(scale, start, part)
      }
    }
  }

  /** Bytes of a copy of a part. */
  #sizeOf(part: number): number {
    const { cut, modules } = this.#context.config
    return 4 * (cut.sizes[part] ?? 0) * (1 + modules.stages.moments.length)
  }

  /** The holder of the part before gives this peer a copy. */
  async #onCheckpoint(from: PeerName, question: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const { view, config, own, say } = this.#context
    const { swarm, blobs } = config.modules
    const { part, root, size, ...course } = read(swarm, from, checkpointQuestion, question)
    const holders = view.holders(part, swarm.clock.now()).map(({ peer }) => peer)
    const due = course.step > 0 && course.step % config.options.checkpointEvery === 0
    if (!this.used || !due || !holders.includes(from) || [...own].length === 0) {
      throw new StarlingError('not-kept', 'this peer keeps copies that are due, from holders', { part })
    }
    if (size !== this.#sizeOf(part)) {
      swarm.penalize(from, 'bad-tensor')
      throw new StarlingError('bad-tensor', `part ${part} has ${this.#sizeOf(part)} bytes, not ${size}`, { part })
    }
    const bytes = new Uint8Array(size)
    await blobs.pull([from], { root, size }, bytes, { signal })
    this.#add(part, { course, bytes })
    say()
    return new Uint8Array(0)
  }

  async #onFetch(from: PeerName, question: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const { swarm, blobs } = this.#context.config.modules
    const { part, step } = read(swarm, from, fetchCheckpointQuestion, question)
    const copy = this.#copies.get(part)?.get(step)
    if (copy === undefined) {
      throw new StarlingError('not-held', `this peer has no copy of part ${part} of step ${step}`, { part, step })
    }
    const reference = await blobs.offer(copy.bytes, { ttl: TIMEOUT + copy.bytes.byteLength / SLOWEST, signal })
    const { applied, rate, norm } = copy.course
    return copyAnswer.encode({ step, applied, rate, ...(norm === undefined ? {} : { norm }), ...reference })
  }
}
