/** When whom is asked for further peers: a random peer of the run, less and less often while nobody comes or goes, and the bootstrap nodes. */
import type { Clock, Random } from '../../protocols/index.ts'
import { jittered } from './back-off.ts'
import type { Introductions } from './introductions.ts'

/** Peers are asked for others they know this often, milliseconds; less and less often while that brings nothing. */
const MIN_EXCHANGE = 1_000
const MAX_EXCHANGE = 60_000
/** Bootstrap nodes are told that this node is there, and asked for others, this often: without any peer of the run and with some; milliseconds. */
const SEEK_ALONE = 15_000
const SEEK = 60_000

export interface ExchangeParts {
  introductions: Introductions
  clock: Clock
  random: Random
}

export class Exchange {
  readonly #parts: ExchangeParts
  #every = MIN_EXCHANGE
  #next = 0
  #nextSeek = 0

  constructor(parts: ExchangeParts) {
    this.#parts = parts
  }

  /** Asks whoever is due; called every heartbeat. */
  look(): void {
    const { clock, introductions, random } = this.#parts
    const now = clock.now()
    const peers = introductions.peers()
    if (now >= this.#nextSeek) {
      this.#nextSeek = now + jittered(peers.length === 0 ? SEEK_ALONE : SEEK, random)
      // Which tells them of this node too.
      for (const peer of introductions.services()) void introductions.refresh(peer)
    }
    if (now < this.#next) return
    this.#next = now + jittered(this.#every, random)
    this.#every = Math.min(MAX_EXCHANGE, this.#every * 2)
    const peer = peers[peers.length > 0 ? random.integer(peers.length) : 0]
    if (peer !== undefined) void introductions.refresh(peer)
  }

  /** Somebody came or went: others may know more. */
  soon(): void {
    this.#every = MIN_EXCHANGE
    this.#next = Math.min(this.#next, this.#parts.clock.now() + MIN_EXCHANGE)
  }

  /** The bootstrap nodes are asked at the next look. */
  seek(): void {
    this.#nextSeek = 0
  }

  /** Tells everybody where this node is now; others would go on telling the old addresses. */
  announce(): void {
    const { introductions } = this.#parts
    this.seek()
    for (const peer of introductions.peers()) void introductions.refresh(peer)
  }
}
