/** Watching over the microbatches of a data peer: a hop that is gone, hangs, or has forgotten them, is found out long before its questions time out. */
import type { PeerName } from '../../ports.ts'
import { METHODS, passOf, whereAnswer, whereQuestion } from '../messages.ts'
import { lossOf } from './courier.ts'
import type { FlowParts } from './parts.ts'
import { forEach } from './signals.ts'
import { fail, PathFailure, type Trip } from './trip.ts'

/** A microbatch of which nothing was heard for so long is asked after, ms; and how often that is looked at. */
const LATE = 1_500
const WATCH_EVERY = 500

/** Whole time for asking a hop what became of a microbatch, ms. */
const WHERE_TIMEOUT = 2_500

/** A hop that answers, but at which nothing moves for so long, is given up, ms; or so many times what the slowest microbatch took. */
const STUCK = 30_000
const STUCK_SHARE = 10

export class Watch {
  readonly #parts: FlowParts
  readonly #trips: ReadonlyMap<string, Trip>
  /** Longest that a microbatch took, ms. */
  readonly #slowest: () => number
  #connected: ReadonlySet<PeerName> = new Set()

  constructor(parts: FlowParts, trips: ReadonlyMap<string, Trip>, slowest: () => number) {
    this.#parts = parts
    this.#trips = trips
    this.#slowest = slowest
  }

  /** Until the signal aborts. */
  start(signal: AbortSignal): void {
    const { swarm } = this.#parts.modules
    const stop = swarm.onConnections(() => this.#onConnections())
    this.#connected = new Set(swarm.connected())
    signal.addEventListener('abort', stop, { once: true })
    this.#watch(signal).catch((error: unknown) => signal.aborted || this.#parts.onBroken(error))
  }

  /** A peer that is not connected any more: everything that goes through it has failed. */
  #onConnections(): void {
    const now = new Set(this.#parts.modules.swarm.connected())
    const gone = [...this.#connected].filter((peer) => !now.has(peer))
    this.#connected = now
    for (const peer of gone) {
      for (const trip of [...this.#trips.values()]) {
        const hop = trip.path.find((each) => each.peer === peer)
        if (hop !== undefined) {
          fail(trip, new PathFailure(hop.stage, peer, { reason: 'disconnected', code: 'peer-unreachable' }))
        }
      }
    }
  }

  /** Asks after what is late. */
  async #watch(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts.modules.swarm
    while (!signal.aborted) {
      await clock.sleep(WATCH_EVERY, signal)
      const late = [...this.#trips.values()].filter(
        ({ sign, phase }) => phase !== 'begun' && clock.now() - sign > Math.max(LATE, this.#slowest()),
      )
      await Promise.all(late.map((trip) => this.#look(trip)))
    }
  }

  /** Asks every hop what it knows of a microbatch; one that does not answer, or has dropped it, or at which nothing moves, is lost. */
  async #look(trip: Trip): Promise<void> {
    const { courier, modules } = this.#parts
    const { path, ended, id } = trip
    const { origin: _, ...pass } = passOf(id)
    const states = await forEach(path, ended.signal, async ({ stage, peer }, signal, hop) => {
      const options = { timeout: WHERE_TIMEOUT, maxAnswer: whereAnswer.maxBytes, signal }
      try {
        const answer = await courier.ask(peer, METHODS.where, whereQuestion.encode({ ...pass, hop }), options)
        return whereAnswer.decode(answer).state
      } catch (error) {
        if (!ended.signal.aborted) {
          fail(trip, new PathFailure(stage, peer, lossOf(error)))
        }
        return 'none'
      }
    })
    if (ended.signal.aborted) {
      return
    }
    const now = modules.swarm.clock.now()
    const said = states.join(' ')
    if (said !== trip.states) {
      trip.states = said
      trip.sign = now
      return
    }
    // Twice the same: what was on its way from one hop to the next at the first look has arrived.
    const at =
      trip.phase === 'turned'
        ? states.findLastIndex((state) => state !== 'done')
        : states.findIndex((state) => state !== 'passed' && state !== 'done')
    const hop = path[at]
    if (hop === undefined) {
      // It is this peer that has it.
      return
    }
    if (states[at] === 'none') {
      fail(trip, new PathFailure(hop.stage, hop.peer, { reason: 'refused', code: 'dropped' }))
    } else if (now - trip.sign > Math.max(STUCK, STUCK_SHARE * this.#slowest())) {
      fail(trip, new PathFailure(hop.stage, hop.peer, { reason: 'silent', code: 'stuck' }))
    }
  }
}
