/** Statements by gossip: sends this peer's every second, and at once when it changes; takes in those of others. */
import { Bell } from '../../bell.ts'
import { StarlingError } from '../../errors.ts'
import type { GossipMessage, PeerName, Swarm, Verdict } from '../../ports.ts'
import { RateLimit } from '../../rate-limit.ts'
import { STAGES_TOPIC, type Statement, statementMessage } from './messages.ts'
import type { Heard, StageView } from './view.ts'

/** Time between two statements, ms, of up to {@link FEW} peers; with more it grows, so that all of them together say no more. */
const INTERVAL = 1_000
const FEW = 8

/** Within this time a newcomer is told what this peer holds, ms, everyone at another moment; with more than {@link FEW} peers it grows as well. */
const WELCOME = 300

/** Shortest time between two statements, ms. */
const GAP = 50

/** Statements that this peer sends beside those that are due: at once after a rest, and per second. */
const URGENT = { burst: 10, rate: 2 }

/** Statements taken from one peer, at once and per second; twice what an honest one sends. */
const TAKEN = { burst: 24, rate: 6 }

/** Peers whose rates are remembered. */
const MAX_RATE_KEYS = 1_024

/** What is said of this peer, without what this file adds. */
export type Said = Omit<Statement, 'incarnation' | 'sequence' | 'interval'>

export interface StatementsOptions {
  swarm: Swarm
  view: StageView
  stages: number
  incarnation: number
  said(): Said
  onHeard(peer: PeerName, statement: Statement, heard: Heard): void
}

export class Statements {
  readonly #options: StatementsOptions
  readonly #taken = new RateLimit({ ...TAKEN, keys: MAX_RATE_KEYS })
  readonly #urgent = new RateLimit({ ...URGENT, keys: 1 })
  readonly #stopped = new AbortController()
  #unsubscribe: (() => void) | undefined
  #loop: Promise<void> = Promise.resolve()
  /** What bytes that were accepted say, until they are handled. */
  readonly #accepted = new WeakMap<Uint8Array, Statement>()
  #sequence = 0
  #due = 0
  readonly #bell = new Bell()
  readonly #random
  #lastSent = Number.NEGATIVE_INFINITY
  #soon = false

  constructor(options: StatementsOptions) {
    this.#options = options
    this.#random = options.swarm.random('pipeline-statements')
  }

  start(): void {
    const { swarm } = this.#options
    this.#unsubscribe = swarm.subscribe(STAGES_TOPIC, {
      validate: (message) => this.#validate(message),
      handle: (message) => this.#handle(message),
    })
    this.#loop = this.#speak()
  }

  /** Sends a last statement, and ends. */
  async stop(): Promise<void> {
    this.#stopped.abort(new StarlingError('aborted', 'the statements were stopped', {}))
    await this.#loop
    await this.#send()
    this.#unsubscribe?.()
  }

  /** Something changed that others wait for. */
  say(): void {
    this.#note()
    if (!this.#soon && !this.#stopped.signal.aborted) {
      void this.#saySoon()
    }
  }

  async #saySoon(): Promise<void> {
    const { clock } = this.#options.swarm
    this.#soon = true
    const now = clock.now()
    const wait = Math.max(this.#lastSent + GAP - now, this.#urgent.delay('', 1, now), 0)
    await clock.sleep(wait, this.#stopped.signal).catch(() => undefined)
    this.#soon = false
    if (!this.#stopped.signal.aborted) {
      this.#urgent.spend('', 1, clock.now())
      await this.#send()
    }
  }

  async #speak(): Promise<void> {
    const { clock } = this.#options.swarm
    while (!this.#stopped.signal.aborted) {
      if (clock.now() >= this.#due) {
        await this.#send()
      }
      await this.#bell.wait(clock, Math.max(1, this.#due - clock.now()), this.#stopped.signal)
    }
  }

  /** What this peer says of itself is in its own view at once. */
  #note(): void {
    const { swarm, view, incarnation, said } = this.#options
    const statement = { ...said(), incarnation, sequence: ++this.#sequence, interval: this.#interval() }
    const heard = view.hear(swarm.self, statement, swarm.clock.now())
    this.#options.onHeard(swarm.self, statement, heard)
  }

  /** A newcomer must not wait for what this peer says next. */
  #welcome(): void {
    const now = this.#options.swarm.clock.now()
    const soon = now + this.#random.uniform() * WELCOME * this.#crowd()
    if (soon < this.#due) {
      this.#due = soon
      this.#bell.ring()
    }
  }

  #interval(): number {
    return Math.round(INTERVAL * this.#crowd())
  }

  /** How many times {@link FEW} peers there are, at least 1. */
  #crowd(): number {
    const { swarm, view } = this.#options
    return Math.max(1, view.peers(swarm.clock.now()).length / FEW)
  }

  /** One that cannot be sent is not an error: the next one says the same and more. */
  async #send(): Promise<void> {
    const { swarm, view } = this.#options
    const now = swarm.clock.now()
    this.#lastSent = now
    this.#due = now + this.#interval()
    this.#note()
    const statement = view.statement(swarm.self)
    if (statement !== undefined) {
      await swarm.publish(STAGES_TOPIC, statementMessage.encode(statement)).catch(() => 0)
    }
  }

  #validate({ from, data }: GossipMessage): Verdict {
    const { swarm, view, stages } = this.#options
    if (from === swarm.self) {
      return { verdict: 'ignore', reason: 'own-message' }
    }
    if (!this.#taken.allow(from, 1, swarm.clock.now())) {
      return { verdict: 'ignore', reason: 'too-many-statements' }
    }
    let statement: Statement
    try {
      statement = statementMessage.decode(data)
    } catch (error) {
      if (!(error instanceof StarlingError)) {
        throw error
      }
      return error.data.misfit === true
        ? { verdict: 'ignore', reason: 'unknown-statement' }
        : { verdict: 'reject', reason: 'bad-statement' }
    }
    const parts = statement.holds.map(({ part }) => part)
    if (new Set(parts).size !== parts.length || parts.some((part) => part > stages)) {
      return { verdict: 'reject', reason: 'bad-statement' }
    }
    if (!view.isNew(from, statement)) {
      return { verdict: 'ignore', reason: 'stale-statement' }
    }
    this.#accepted.set(data, statement)
    return { verdict: 'accept' }
  }

  #handle({ from, data }: GossipMessage): void {
    const { swarm, view, onHeard } = this.#options
    const statement = this.#accepted.get(data) ?? statementMessage.decode(data)
    if (view.statement(from)?.incarnation !== statement.incarnation) {
      this.#welcome()
    }
    const heard = view.hear(from, statement, swarm.clock.now())
    if (heard !== 'stale') {
      onHeard(from, statement, heard)
    }
  }
}
