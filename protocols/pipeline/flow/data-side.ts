/** The data peer's end of every microbatch: embeds it, sends it on its path, turns it round at the head, and takes its gradient back. */
import { StarlingError } from '../../errors.ts'
import type { PeerName } from '../../ports.ts'
import {
  type BackwardQuestion,
  type ForwardQuestion,
  type failedQuestion,
  keyOf,
  type PassId,
  passOf,
} from '../messages.ts'
import { quotaOf } from '../options.ts'
import { type HandOver, lossOf } from './courier.ts'
import { type FlowParts, NOTHING, passingCode, refuse } from './parts.ts'
import { either } from './signals.ts'
import { SlotPool } from './tensors.ts'
import { fail, PathFailure, type Trip, type TripOrder, type TripResult } from './trip.ts'
import { Watch } from './watch.ts'

export class DataSide {
  readonly #parts: FlowParts
  /** Memory for the microbatches of this peer; who has none waits. */
  readonly slots: SlotPool
  /** By key; at most one for each slot. */
  readonly #trips = new Map<string, Trip>()
  /** Longest that a microbatch took, ms. */
  #slowest = 0

  constructor(parts: FlowParts) {
    this.#parts = parts
    this.slots = new SlotPool(0, quotaOf(parts.options))
  }

  /** Microbatches under way. */
  get underWay(): number {
    return this.#trips.size
  }

  /** Of those, how many go through that peer. */
  load(peer: PeerName): number {
    let count = 0
    for (const { path } of this.#trips.values()) {
      count += path.some((hop) => hop.peer === peer) ? 1 : 0
    }
    return count
  }

  /** Watches over what is under way until the signal aborts. */
  start(signal: AbortSignal): void {
    new Watch(this.#parts, this.#trips, () => this.#slowest).start(signal)
  }

  /** Sends a microbatch round. Rejects with a {@link PathFailure}, the learner's error, or the signal's reason; it counts for nothing then. */
  async travel(order: TripOrder, signal: AbortSignal): Promise<TripResult> {
    const { queue, stages, modules, onBroken } = this.#parts
    const { clock } = modules.swarm
    const { id, slot } = order
    const key = keyOf(id)
    const ended = new AbortController()
    const onAbort = (): void => ended.abort(signal.reason)
    let trip: Trip | undefined
    try {
      return await new Promise<TripResult>((resolve, reject) => {
        ended.signal.addEventListener('abort', () => reject(ended.signal.reason), { once: true })
        signal.addEventListener('abort', onAbort, { once: true })
        const now = clock.now()
        const nothing = { loss: 0, samples: 0, right: 0 }
        const begun = { rows: 0, phase: 'begun' as const, arrived: undefined, gradient: undefined, result: nothing }
        const watched = { begunAt: now, sign: now, states: '' }
        trip = { ...order, ...begun, ...watched, ended, handed: new AbortController(), resolve, reject }
        this.#trips.set(key, trip)
        signal.throwIfAborted()
        void this.#work(trip, () => this.#begin(trip!))
      })
    } finally {
      signal.removeEventListener('abort', onAbort)
      ended.abort(new StarlingError('stale', 'that microbatch has ended', {}))
      this.#trips.delete(key)
      // After what is being done with it just now.
      queue.run('now', () => stages.drop(slot)).then(() => this.slots.give(slot), onBroken)
    }
  }

  /** The activations that left the last stage. Resolves when they are here. */
  async forward(from: PeerName, question: ForwardQuestion): Promise<Uint8Array> {
    const { tensors } = this.#parts
    const trip = this.#find(question)
    const { path, rows } = trip
    const last = path.at(-1)!
    const same = (hop: { stage: number; peer: PeerName }, i: number): boolean =>
      hop.stage === question.stages[i] && hop.peer === question.peers[i]
    if (from !== last.peer || question.stages.length !== path.length || !path.every(same) || trip.phase === 'begun') {
      return refuse(this.#parts, from, 'path', 'bad-path')
    }
    if (question.rows !== rows || question.size !== tensors.size(rows, last.stage)) {
      return refuse(this.#parts, from, 'tensor', 'bad-tensor')
    }
    if (trip.arrived === undefined) {
      trip.arrived = this.#receive(trip, from, question, false, last.stage)
      await trip.arrived
      void this.#work(trip, () => this.#turn(trip, question.exponent))
    }
    await trip.arrived
    return NOTHING
  }

  /** The gradient at what was embedded. Resolves when it is here. */
  async backward(from: PeerName, question: BackwardQuestion): Promise<Uint8Array> {
    const { tensors } = this.#parts
    const trip = this.#find(question)
    const { path, rows, id } = trip
    if (from !== path[0]!.peer || trip.phase !== 'turned' || !id.keep) {
      return refuse(this.#parts, from, 'gradient', 'bad-path')
    }
    if (question.rows !== rows || question.size !== tensors.size(rows, 0)) {
      return refuse(this.#parts, from, 'gradient', 'bad-tensor')
    }
    if (trip.gradient === undefined) {
      trip.gradient = this.#receive(trip, from, question, true, 0)
      await trip.gradient
      void this.#work(trip, () => this.#end(trip, question.exponent))
    }
    await trip.gradient
    return NOTHING
  }

  /** A holder could not hand a microbatch on. */
  failed(from: PeerName, question: ReturnType<typeof failedQuestion.decode>): Uint8Array {
    const { swarm } = this.#parts.modules
    const trip = this.#trips.get(keyOf({ ...question, origin: swarm.self }))
    const own = trip?.path.findIndex(({ peer }, i) => peer === from && Math.abs(i - question.hop) <= 1) ?? -1
    if (trip === undefined || own < 0) {
      return NOTHING
    }
    // That it cannot hand something to this peer is laid to the holder itself: this peer is well.
    const hop = trip.path[question.hop] ?? trip.path[own]!
    fail(trip, new PathFailure(hop.stage, hop.peer, question))
    return NOTHING
  }

  async #begin(trip: Trip): Promise<void> {
    const { queue, stages, tensors } = this.#parts
    const { id, path, source, slot, ended } = trip
    const { exponent } = await queue.run('forward', async () => {
      ended.signal.throwIfAborted()
      trip.rows = await stages.embed(source, id.keep ? slot : undefined)
      return tensors.encode(slot, trip.rows, 0)
    })
    trip.phase = 'out'
    const { rows } = trip
    const hops = { stages: path.map(({ stage }) => stage), peers: path.map(({ peer }) => peer) }
    const question = { ...passOf(id), ...hops, hop: 0, rows, exponent }
    await this.#handOver(trip, 0, { method: 'forward', question, tensor: tensors.bytes(slot, rows, 0) })
  }

  async #turn(trip: Trip, exponent: number): Promise<void> {
    const { queue, stages, tensors } = this.#parts
    const { id, path, source, slot, rows, ended } = trip
    const last = path.length - 1
    const { stage } = path[last]!
    const coded = await queue.run('backward', async () => {
      ended.signal.throwIfAborted()
      await this.#decode(trip, stage, exponent, last)
      if (source.kind === 'tokens') {
        trip.result.logits = await stages.logits(source.tokens.length - 1)
        return undefined
      }
      const found = await stages.loss(source, id.keep ? 0 : undefined)
      Object.assign(trip.result, found)
      if (!Number.isFinite(found.loss)) {
        throw new StarlingError('not-finite', `the loss of a microbatch is ${found.loss}`, {})
      }
      return id.keep ? tensors.encode(slot, rows, stage) : undefined
    })
    if (coded === undefined) {
      this.#arrive(trip)
      return
    }
    trip.phase = 'turned'
    const question = { ...passOf(id), hop: last, rows, exponent: coded.exponent }
    await this.#handOver(trip, last, { method: 'backward', question, tensor: tensors.bytes(slot, rows, stage) })
  }

  async #end(trip: Trip, exponent: number): Promise<void> {
    const { queue, stages } = this.#parts
    await queue.run('backward', async () => {
      trip.ended.signal.throwIfAborted()
      await this.#decode(trip, 0, exponent, 0)
      await stages.backward(trip.slot, 0)
    })
    this.#arrive(trip)
  }

  #arrive(trip: Trip): void {
    this.#slowest = Math.max(this.#slowest, this.#parts.modules.swarm.clock.now() - trip.begunAt)
    trip.resolve(trip.result)
  }

  /** The trip of a question. */
  #find(id: PassId): Trip {
    const trip = id.origin === this.#parts.modules.swarm.self ? this.#trips.get(keyOf(id)) : undefined
    if (trip === undefined) {
      throw new StarlingError('unknown-pass', 'this peer has no such microbatch under way', {})
    }
    return trip
  }

  async #receive(
    trip: Trip,
    from: PeerName,
    question: ForwardQuestion | BackwardQuestion,
    backward: boolean,
    part: number,
  ): Promise<void> {
    const { courier, tensors, modules } = this.#parts
    const { slot, rows, ended } = trip
    // It came from there, so what we handed over has arrived, whether we have heard of that or not: the slot may be written to.
    trip.handed.abort()
    trip.handed = new AbortController()
    trip.sign = modules.swarm.clock.now()
    try {
      await courier.receive(from, question, backward, tensors.bytes(slot, rows, part), ended.signal)
    } catch (error) {
      if (ended.signal.aborted) {
        throw new StarlingError('stale', 'that microbatch has ended', {})
      }
      const loss = lossOf(error)
      if (loss.code === 'bad-tensor') {
        modules.swarm.penalize(from, loss.code)
        modules.report({ kind: 'rejected', peer: from, what: 'tensor', reason: loss.code })
      }
      const hop = trip.path[backward ? 0 : trip.path.length - 1]!
      fail(trip, new PathFailure(hop.stage, hop.peer, loss))
      throw error
    }
  }

  async #handOver(
    trip: Trip,
    hop: number,
    order: Omit<Extract<HandOver, { method: 'forward' }>, 'to'> | Omit<Extract<HandOver, { method: 'backward' }>, 'to'>,
  ): Promise<void> {
    const { stage, peer } = trip.path[hop]!
    const { handed } = trip
    const signal = either(trip.ended.signal, handed.signal)
    try {
      await this.#parts.courier.handOver({ ...order, to: peer }, signal.signal)
    } catch (error) {
      if (!trip.ended.signal.aborted && !handed.signal.aborted) {
        throw new PathFailure(stage, peer, lossOf(error))
      }
    } finally {
      signal.end()
    }
  }

  /** stream <- what came from the peer of a hop, to whom it is held against where it cannot be used. */
  async #decode(trip: Trip, part: number, exponent: number, hop: number): Promise<void> {
    const { tensors, modules } = this.#parts
    try {
      await tensors.decode(trip.slot, trip.rows, part, exponent)
    } catch (error) {
      const code = passingCode(error)
      if (code !== 'bad-tensor') {
        throw error
      }
      const { stage, peer } = trip.path[hop]!
      modules.swarm.penalize(peer, code)
      modules.report({ kind: 'rejected', peer, what: 'tensor', reason: code })
      throw new PathFailure(stage, peer, { reason: 'refused', code })
    }
  }

  async #work(trip: Trip, part: () => Promise<void>): Promise<void> {
    try {
      await part()
    } catch (error) {
      fail(trip, error)
    }
  }
}
