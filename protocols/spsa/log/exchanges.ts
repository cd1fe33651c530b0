/** Exchanges under way: a few at once, one per peer, each with its time; peers for which there is no place wait in line. */
import { StarlingError } from '../../errors.ts'
import type { PeerName, Transport } from '../../ports.ts'
import type { ContributionLog } from '../types.ts'
import { type Brought, Exchange, type SyncLimits } from './ask.ts'
import { Scopes } from './scopes.ts'

/** Exchanges of {@link Exchanges.soon} under way at once. */
const MAX_EXCHANGES = 4

/** Longest exchange, ms: a slow peer keeps no place for longer; the next exchange goes on where it stopped. */
const EXCHANGE_TIMEOUT = 60_000

/** Peers kept in line while all places are taken. */
const MAX_WAITING = 64

/** What an exchange is for. */
export type Work = (exchange: Exchange) => Promise<void>

/** Hears of every exchange. */
export interface ExchangeListener {
  began(peer: PeerName): void
  /** What it brought, in any case, and what ended it early. */
  ended(peer: PeerName, brought: Brought, error: StarlingError | undefined): void
  /** An error that is nobody's fault but this machine's. */
  fail(error: unknown): void
}

export class Exchanges {
  readonly #context: { transport: Transport; log: ContributionLog; limits: SyncLimits }
  readonly #listener: ExchangeListener
  /** One per peer: at most {@link MAX_EXCHANGES}, and those that were begun without waiting, which whoever begins them bounds. */
  readonly #running = new Map<PeerName, Promise<boolean>>()
  /** At most {@link MAX_WAITING}. */
  readonly #waiting = new Set<PeerName>()
  readonly #scopes = new Scopes('the sync was stopped')
  #stopped = false

  constructor(context: { transport: Transport; log: ContributionLog; limits: SyncLimits }, listener: ExchangeListener) {
    this.#context = context
    this.#listener = listener
  }

  /** Takes all that the peer has, now or when there is a place; more than {@link MAX_WAITING} such wishes at a time are forgotten. */
  soon(peer: PeerName): void {
    if (this.#stopped || peer === this.#context.transport.self) {
      return
    }
    if (this.#waiting.size < MAX_WAITING) {
      this.#waiting.add(peer)
    }
    this.#fill()
  }

  /** The exchange under way with that peer; true when it went well. */
  running(peer: PeerName): Promise<boolean> | undefined {
    return this.#running.get(peer)
  }

  /** Begins one with a peer with which none is under way, place or not; true when it went well. Never rejects. */
  begin(peer: PeerName, work: Work = (exchange) => exchange.everything()): Promise<boolean> {
    const done = this.#scopes
      .run((signal, end) => this.#run(peer, work, signal, end))
      .catch((error: unknown) => {
        this.#listener.fail(error)
        return false
      })
      .finally(() => {
        this.#running.delete(peer)
        this.#fill()
      })
    this.#running.set(peer, done)
    return done
  }

  /** Gives the free places to those in line. Whoever is being asked already stays in line. */
  #fill(): void {
    for (const peer of this.#stopped ? [] : this.#waiting) {
      if (this.#running.size >= MAX_EXCHANGES) {
        return
      }
      if (!this.#running.has(peer)) {
        this.#waiting.delete(peer)
        void this.begin(peer)
      }
    }
  }

  /** Ends all, and waits for them. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#scopes.close()
    await Promise.all(this.#running.values())
  }

  async #run(peer: PeerName, work: Work, signal: AbortSignal, end: () => void): Promise<boolean> {
    this.#listener.began(peer)
    this.#context.transport.clock.sleep(EXCHANGE_TIMEOUT, signal).then(end, () => undefined)
    const exchange = new Exchange(this.#context, peer, signal)
    let failure: StarlingError | undefined
    try {
      await work(exchange)
    } catch (error) {
      if (!(error instanceof StarlingError)) {
        throw error
      }
      failure = error
    } finally {
      this.#listener.ended(peer, exchange.brought, failure)
    }
    return failure === undefined
  }
}
