/** How far peers are from this one: round trips and bandwidth, by probes of some ten kilobytes that are asked for when a plan is made. */
import { StarlingError } from '../../errors.ts'
import type { PeerName, Transport } from '../../ports.ts'
import { fewAtATime } from './few.ts'
import { linksAnswer, linksQuestion, MAX_MACHINES, METHODS } from './messages.ts'

/** Bytes of a probe for the bandwidth: as much as rides in a question of the flow. */
const PROBE_BYTES = 48 * 1024

/** Probes of each kind; the quickest counts, because whatever else goes on only makes them slower. */
const PROBES = 3

/** How long a measure is good, ms, and the longest wait for a probe. */
const FRESH = 300_000
const PROBE_TIMEOUT = 5_000

/** Longest wait for all measures of a peer. */
const LINKS_TIMEOUT = 30_000

/** Longest time that is believed, seconds. */
const LONGEST = 1_000

interface Link {
  /** Round trip of next to nothing, ms. */
  trip: number
  /** Bytes per ms; infinite where more bytes took no longer. */
  rate: number
  at: number
}

/** Measures links, answers questions about them, and asks others about theirs. */
export class Links {
  readonly #transport: Transport
  /** At most {@link MAX_MACHINES}; the oldest measure makes room. */
  readonly #known = new Map<PeerName, Link>()

  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** Answers probes and questions about links from now on; returns how to stop that. `trusts`: whose questions are worth the work. */
  start(trusts: (peer: PeerName) => boolean): () => void {
    const stops = [
      this.#transport.answer(METHODS.probe, () => new Uint8Array(0)),
      this.#transport.answer(METHODS.links, async (from, bytes, signal) => {
        if (!trusts(from)) {
          throw new StarlingError('not-a-data-peer', 'only a data peer makes plans', { peer: from })
        }
        const { peers, size } = linksQuestion.decode(bytes)
        const times = await this.times(peers, size, signal)
        return linksAnswer.encode({ times: times.map((time) => (time === undefined ? -1 : Math.round(time * 1e6))) })
      }),
    ]
    return () => {
      for (const stop of stops) {
        stop()
      }
    }
  }

  /** A transfer that was made anyway, long enough to tell the bandwidth by. Of peers whose round trip is not known nothing can be said. */
  observed(peer: PeerName, bytes: number, milliseconds: number): void {
    const link = this.#known.get(peer)
    if (link !== undefined && bytes >= PROBE_BYTES && milliseconds > link.trip) {
      link.rate = Math.max(link.rate, bytes / (milliseconds - link.trip))
    }
  }

  /** Seconds for so many bytes from this peer to each of those, measured where that is not known or long ago; undefined for those out of reach. */
  times(peers: readonly PeerName[], size: number, signal: AbortSignal): Promise<(number | undefined)[]> {
    return fewAtATime(peers, async (peer) => {
      if (peer === this.#transport.self) {
        return 0
      }
      const link = await this.#link(peer, signal)
      // What does not fit into a question is announced in one and pulled with another: a round trip more.
      const trips = size > PROBE_BYTES ? 1.5 : 0.5
      return link === undefined ? undefined : Math.min(LONGEST, (trips * link.trip + size / link.rate) / 1000)
    })
  }

  /** The same, as that peer sees it; undefined where it does not answer. */
  async timesOf(peer: PeerName, peers: readonly PeerName[], size: number, signal: AbortSignal) {
    if (peer === this.#transport.self) {
      return this.times(peers, size, signal)
    }
    const question = linksQuestion.encode({ peers: [...peers], size })
    try {
      const answer = await this.#transport.ask(peer, METHODS.links, question, { signal, timeout: LINKS_TIMEOUT })
      const { times } = linksAnswer.decode(answer)
      return times.length === peers.length ? times.map((time) => (time < 0 ? undefined : time / 1e6)) : undefined
    } catch (error) {
      this.#held(error, peer, signal)
      return undefined
    }
  }

  async #link(peer: PeerName, signal: AbortSignal): Promise<Link | undefined> {
    const { clock } = this.#transport
    const known = this.#known.get(peer)
    if (known !== undefined && clock.now() - known.at < FRESH) {
      return known
    }
    try {
      const trip = await this.#quickest(peer, 1, signal)
      const longer = await this.#quickest(peer, PROBE_BYTES, signal)
      const rate = longer > trip ? PROBE_BYTES / (longer - trip) : Number.POSITIVE_INFINITY
      this.#known.delete(peer)
      this.#known.set(peer, { trip, rate, at: clock.now() })
      if (this.#known.size > MAX_MACHINES) {
        this.#known.delete(this.#known.keys().next().value!)
      }
      return this.#known.get(peer)
    } catch (error) {
      this.#held(error, peer, signal)
      return undefined
    }
  }

  async #quickest(peer: PeerName, bytes: number, signal: AbortSignal): Promise<number> {
    const { clock } = this.#transport
    let least = Number.POSITIVE_INFINITY
    for (let i = 0; i < PROBES; i++) {
      const before = clock.now()
      await this.#transport.ask(peer, METHODS.probe, new Uint8Array(bytes), { signal, timeout: PROBE_TIMEOUT })
      least = Math.min(least, clock.now() - before)
    }
    return least
  }

  /** A peer that fails is out of reach, one that talks nonsense is held to account; what the end of the run breaks off goes on. */
  #held(error: unknown, peer: PeerName, signal: AbortSignal): void {
    if (signal.aborted || !(error instanceof StarlingError)) {
      throw error
    }
    if (error.code === 'bad-message') {
      this.#transport.penalize(peer, error.message)
    }
  }
}
