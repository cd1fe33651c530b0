/** The holder of stages: takes microbatches, works on them and hands them on, forwards and backwards; sums gradients per data peer, and steps when told to. */

import { Bell } from '../../bell.ts'
import { StarlingError } from '../../errors.ts'
import type { PeerName } from '../../ports.ts'
import {
  type BackwardQuestion,
  type CommitQuestion,
  type ForwardQuestion,
  type PassId,
  passOf,
  type VisitState,
} from '../messages.ts'
import { quotaOf, slotsOf } from '../options.ts'
import type { Book, Visit } from './book.ts'
import { Books } from './books.ts'
import { lossOf } from './courier.ts'
import { type FlowParts, NOTHING, partBefore, passingCode, pathFault, refuse } from './parts.ts'
import { either } from './signals.ts'
import { commitStage, mustHold } from './stage-commit.ts'
import { SlotPool } from './tensors.ts'
import { tellFailure, VisitFailure } from './visit-failure.ts'

/** Longest time for which a question waits for memory, ms: until the microbatch before is known to be out of it. */
const PARK = 2_000

export class StageSide {
  readonly #parts: FlowParts
  readonly #pool: SlotPool
  readonly #books: Books
  /** Rings when memory is free again. */
  readonly #freed = new Bell()
  /** Aborted when this peer stops. */
  readonly #stopped = new AbortController()

  constructor(parts: FlowParts) {
    this.#parts = parts
    const { options } = parts
    this.#pool = new SlotPool(quotaOf(options), options.places * slotsOf(options))
    this.#books = new Books(parts, (book, visit) => this.#drop(book, visit))
  }

  /** A microbatch, or its activations, from the part before. Resolves when they are here. */
  async forward(from: PeerName, question: ForwardQuestion): Promise<Uint8Array> {
    const { stages: learner, tensors, modules } = this.#parts
    const { stages, peers, hop, origin, rows, size } = question
    const path = stages.map((stage, i) => ({ stage, peer: peers[i] ?? '' }))
    const fault = peers.length === stages.length ? pathFault(path, learner.cut) : 'bad-path'
    if (fault !== undefined) {
      return refuse(this.#parts, from, 'path', fault)
    }
    const here = path[hop]
    if (here?.peer !== modules.swarm.self || from !== (hop === 0 ? origin : path[hop - 1]!.peer)) {
      return refuse(this.#parts, from, 'path', 'bad-path')
    }
    if (rows > learner.cut.rows || size !== tensors.size(rows, partBefore(path, hop))) {
      return refuse(this.#parts, from, 'tensor', 'bad-tensor')
    }
    mustHold(this.#parts, here.stage, question.epoch)
    const book = this.#books.of(question)
    const known = book.visit(question, hop)
    if (known !== undefined) {
      // Asked again, because the answer was lost.
      await known.received
      return NOTHING
    }
    const visit: Visit = {
      id: passOf(question),
      path,
      hop,
      rows,
      state: 'forward',
      slot: undefined,
      received: Promise.resolve(),
      gradient: undefined,
      computed: false,
      milliseconds: 0,
      dropped: new AbortController(),
      handed: new AbortController(),
    }
    book.add(visit)
    visit.received = this.#take(book, visit, from, question)
    try {
      await visit.received
    } catch (error) {
      this.#drop(book, visit)
      throw this.#blame(from, error)
    }
    void this.#work(book, visit, () => this.#passForward(visit, question.exponent))
    return NOTHING
  }

  /** The gradient at what was handed on. Resolves when it is here. */
  async backward(from: PeerName, question: BackwardQuestion): Promise<Uint8Array> {
    const { tensors, courier } = this.#parts
    const { origin, hop, rows, size, exponent } = question
    const book = this.#books.get(origin)
    const visit = book?.visit(question, hop)
    if (book === undefined || visit === undefined || !visit.id.keep) {
      throw new StarlingError('unknown-pass', 'this peer knows no such microbatch', {})
    }
    const { path } = visit
    if (from !== (hop + 1 < path.length ? path[hop + 1]!.peer : origin) || !visit.computed) {
      return refuse(this.#parts, from, 'gradient', 'bad-path')
    }
    const { stage } = path[hop]!
    if (rows !== visit.rows || size !== tensors.size(rows, stage)) {
      return refuse(this.#parts, from, 'gradient', 'bad-tensor')
    }
    if (visit.gradient !== undefined) {
      await visit.gradient
      return NOTHING
    }
    // It came from there, so what we hand over has arrived, whether we have heard of that or not: the slot may be written to.
    visit.handed.abort()
    visit.state = 'backward'
    const into = tensors.bytes(visit.slot!, rows, stage)
    visit.gradient = courier.receive(from, question, true, into, visit.dropped.signal)
    try {
      await visit.gradient
    } catch (error) {
      visit.gradient = undefined
      throw this.#blame(from, error)
    }
    if (!visit.dropped.signal.aborted) {
      void this.#work(book, visit, () => this.#passBackward(book, visit, exponent))
    }
    return NOTHING
  }

  /** What became of a microbatch of the peer that asks. */
  where(from: PeerName, id: Omit<PassId, 'origin'>, hop: number): VisitState | 'none' {
    return this.#books.get(from)?.visit({ ...id, origin: from }, hop)?.state ?? 'none'
  }

  /** See {@link commitStage}. */
  commit(from: PeerName, question: CommitQuestion): Promise<Uint8Array> {
    return commitStage(this.#parts, this.#books.get(from), from, question)
  }

  /** No step will be taken any more: what failed attempts left in memory is dropped. */
  finish(): void {
    this.#books.forgetAll()
  }

  /** Drops everything that is under way. */
  stop(): void {
    this.#stopped.abort()
    this.#books.close()
  }

  /** Waits for memory, and fetches the tensor into it. */
  async #take(book: Book, visit: Visit, from: PeerName, question: ForwardQuestion): Promise<void> {
    const { modules, options, courier, tensors } = this.#parts
    const { clock } = modules.swarm
    const { stage } = visit.path[visit.hop]!
    const { signal } = visit.dropped
    const until = clock.now() + PARK
    // The data peer has no more under way than there is room for, but it may hear of a slot's end before the slot's peer does.
    while (book.load(stage) >= quotaOf(options) || this.#pool.free === 0) {
      if (clock.now() >= until) {
        throw new StarlingError('busy', 'this peer has no memory for another microbatch', {})
      }
      await this.#freed.wait(clock, until - clock.now(), signal)
      signal.throwIfAborted()
    }
    visit.slot = await this.#pool.take(signal)
    await courier.receive(
      from,
      question,
      false,
      tensors.bytes(visit.slot, visit.rows, partBefore(visit.path, visit.hop)),
      signal,
    )
  }

  async #passForward(visit: Visit, exponent: number): Promise<void> {
    const { stages: learner, queue, tensors, courier } = this.#parts
    const { clock } = this.#parts.modules.swarm
    const { path, hop, rows, id, dropped } = visit
    const { stage } = path[hop]!
    const coded = await queue.run('forward', async () => {
      dropped.signal.throwIfAborted()
      const { place } = mustHold(this.#parts, stage, id.epoch)
      await this.#decode(visit, partBefore(path, hop), exponent, hop - 1)
      const started = clock.now()
      await learner.forward(place, rows, id.keep ? visit.slot : undefined)
      visit.milliseconds += clock.now() - started
      return tensors.encode(visit.slot!, rows, stage)
    })
    dropped.signal.throwIfAborted()
    visit.computed = true
    const next = path[hop + 1]?.peer ?? id.origin
    const question = {
      ...id,
      stages: path.map((each) => each.stage),
      peers: path.map(({ peer }) => peer),
      hop: hop + 1,
      rows,
      exponent: coded.exponent,
    }
    const tensor = tensors.bytes(visit.slot!, rows, stage)
    const given = either(dropped.signal, visit.handed.signal)
    try {
      await courier.handOver({ to: next, method: 'forward', question, tensor }, given.signal)
    } catch (error) {
      if (!visit.handed.signal.aborted || dropped.signal.aborted) {
        dropped.signal.throwIfAborted()
        throw new VisitFailure(hop + 1, lossOf(error))
      }
    } finally {
      given.end()
    }
    if (!id.keep) {
      this.#finish(visit)
    } else if (visit.state === 'forward') {
      visit.state = 'passed'
    }
  }

  async #passBackward(book: Book, visit: Visit, exponent: number): Promise<void> {
    const { stages: learner, holders, queue, tensors, courier } = this.#parts
    const { clock } = this.#parts.modules.swarm
    const { path, hop, rows, id, dropped } = visit
    const { stage } = path[hop]!
    const before = partBefore(path, hop)
    const coded = await queue.run('backward', async () => {
      dropped.signal.throwIfAborted()
      mustHold(this.#parts, stage, id.epoch)
      await this.#decode(visit, stage, exponent, hop + 1)
      // Before anything is added: where that fails half way, the sum is known to need clearing.
      const summed = book.sum(stage)
      const started = clock.now()
      await learner.backward(visit.slot!, book.accumulator)
      visit.milliseconds += clock.now() - started
      holders.measured(visit.milliseconds / rows)
      summed.add(id.microbatch)
      return tensors.encode(visit.slot!, rows, before)
    })
    dropped.signal.throwIfAborted()
    const to = hop === 0 ? id.origin : path[hop - 1]!.peer
    const question = { ...id, hop: hop - 1, rows, exponent: coded.exponent }
    try {
      await courier.handOver(
        { to, method: 'backward', question, tensor: tensors.bytes(visit.slot!, rows, before) },
        dropped.signal,
      )
    } catch (error) {
      dropped.signal.throwIfAborted()
      throw new VisitFailure(hop - 1, lossOf(error))
    }
    this.#finish(visit)
  }

  /** stream <- what came from the peer of another hop, to whom it is held against where it cannot be used. */
  async #decode(visit: Visit, part: number, exponent: number, giver: number): Promise<void> {
    const { tensors, modules } = this.#parts
    try {
      await tensors.decode(visit.slot!, visit.rows, part, exponent)
    } catch (error) {
      const code = passingCode(error)
      if (code !== 'bad-tensor') {
        throw error
      }
      const peer = visit.path[giver]?.peer ?? visit.id.origin
      modules.swarm.penalize(peer, code)
      modules.report({ kind: 'rejected', peer, what: 'tensor', reason: code })
      throw new VisitFailure(giver, { reason: 'refused', code })
    }
  }

  /** Does a part of a visit; one that fails is dropped, and its data peer told. */
  async #work(book: Book, visit: Visit, part: () => Promise<void>): Promise<void> {
    try {
      await part()
    } catch (error) {
      if (visit.dropped.signal.aborted) {
        return
      }
      this.#drop(book, visit)
      try {
        const failure =
          error instanceof VisitFailure
            ? error
            : new VisitFailure(visit.hop, { reason: 'refused', code: passingCode(error) })
        await tellFailure(this.#parts, visit.id, failure, this.#stopped.signal)
      } catch (broken) {
        this.#parts.onBroken(broken)
      }
    }
  }

  /** It is out of here; remembered for questions that are asked again. */
  #finish(visit: Visit): void {
    visit.dropped.signal.throwIfAborted()
    visit.state = 'done'
    this.#release(visit)
  }

  #drop(book: Book, visit: Visit): void {
    const { slot } = visit
    book.remove(visit)
    if (visit.dropped.signal.aborted) {
      return
    }
    visit.dropped.abort(new StarlingError('stale', 'that microbatch counts for nothing any more', {}))
    if (slot === undefined) {
      return
    }
    const { queue, stages, onBroken } = this.#parts
    // After what is being done with it just now.
    queue
      .run('now', async () => {
        await stages.drop(slot)
        this.#release(visit)
      })
      .catch((error: unknown) => this.#stopped.signal.aborted || onBroken(error))
  }

  #release(visit: Visit): void {
    if (visit.slot !== undefined) {
      this.#pool.give(visit.slot)
      visit.slot = undefined
      this.#freed.ring()
    }
  }

  /** What a question for a tensor failed with, as its asker hears it. */
  #blame(from: PeerName, error: unknown): unknown {
    if (error instanceof StarlingError && error.code === 'bad-tensor') {
      this.#parts.modules.swarm.penalize(from, 'bad-tensor')
      this.#parts.modules.report({ kind: 'rejected', peer: from, what: 'tensor', reason: 'bad-tensor' })
    }
    return error
  }
}
