/**
 * How contributions spread. Gossip brings most of them at once; anti-entropy brings the rest: every `syncEvery` a peer compares its set with that
 * of a random member and takes what it lacks (Demers et al. 1987, "Epidemic algorithms for replicated database maintenance", pull by version
 * vectors), and whoever is asked by a peer with another set asks back. Nothing is ever pushed but gossip, so what a peer can be made to take is
 * bounded by what it asks for: `steps` contributions of `maxAuthors` authors.
 */
import { StarlingError } from '../../errors.ts'
import { equalBytes } from '../../hash.ts'
import type { PeerName, Random, Swarm } from '../../ports.ts'
import { shuffled } from '../../random.ts'
import { RateLimit } from '../../rate-limit.ts'
import type { Report } from '../../strategy.ts'
import type { Acceptance, ContributionLog, EquivocationProof, Segment } from '../types.ts'
import { type Brought, PeerFault } from './ask.ts'
import { Exchanges } from './exchanges.ts'
import { Gossip } from './gossip.ts'
import { KnownPeers, MAX_PEERS } from './known.ts'
import { untilReady } from './ready.ts'
import { Scopes } from './scopes.ts'
import { serveSync } from './serve.ts'

/** Options of {@link createSync}. */
export interface SyncOptions {
  /** Contributions per author and authors, the same as the log's. */
  steps: number
  maxAuthors: number
  /** Contributions that an author publishes together, at most MAX_BATCH. */
  batch: number
  /** Contributions per second that are taken from one author by gossip, in the long run. */
  maxRate: number
  /** Milliseconds between two comparisons with a random member. */
  syncEvery: number
}

/** What {@link createSync} is made from. */
export interface SyncModules {
  swarm: Swarm
  log: ContributionLog
  report: Report
  /** Told of an error that is nobody's fault but this machine's, such as a full disk; the log goes on with what it has. */
  fail: (error: unknown) => void
}

/** Spreads a log. */
export interface Sync {
  /** Listens, answers and compares until stopped. Throws StarlingError 'already-started' when called twice. */
  start(): void
  /** Stops, waits for what is under way, and writes the log to disk. */
  stop(): Promise<void>
  /** Takes what that peer has, soon; more than 64 such wishes at a time are forgotten. */
  now(peer: PeerName): void
  /** Publishes own contributions that the log has appended. */
  publish(segment: Segment): Promise<void>
  /**
   * Resolves when this peer may contribute: others were asked for what it said in an earlier life, as far as any can be reached. With damaged own
   * records it waits until one has answered. Rejects with StarlingError 'aborted'.
   */
  ready(signal: AbortSignal): Promise<void>
  /** Peers that last named the very set that this peer has now, sorted. */
  agreeing(): PeerName[]
}

/** Pause between hearing of contributions that do not join and asking their author for what lies between, ms: messages overtake each other. */
const GAP_PATIENCE = 200

/** Authors whose gaps are waited for at once. */
const MAX_GAPS = 256

/** Time between two writes of what others contributed, ms. */
const FLUSH_INTERVAL = 10_000

/** Times that a peer may claim what it does not serve; then it is held against it. Serving forgives. */
const MAX_STRIKES = 3

/** Reports of rejects per second and at once about one peer; a flood is one line, not a thousand. */
const REPORT_RATE = { rate: 0.2, burst: 5, keys: MAX_PEERS }

/** Makes a sync; nothing happens before {@link Sync.start}. */
export function createSync(options: SyncOptions, modules: SyncModules): Sync {
  return new AntiEntropy(options, modules)
}

class AntiEntropy implements Sync {
  readonly #options: SyncOptions
  readonly #swarm: Swarm
  readonly #log: ContributionLog
  readonly #report: Report
  readonly #fail: (error: unknown) => void
  readonly #random: Random
  readonly #reports = new RateLimit(REPORT_RATE)
  readonly #known = new KnownPeers()
  readonly #exchanges: Exchanges
  /** Authors whose gap is waited for; at most {@link MAX_GAPS}. */
  readonly #gaps = new Set<PeerName>()
  /** Of the waits for gaps. */
  readonly #scopes = new Scopes('the sync was stopped')
  readonly #stopped = new AbortController()
  #gossip: Gossip | undefined
  #unserve: (() => void) | undefined
  #loops: Promise<unknown> = Promise.resolve()

  constructor(options: SyncOptions, { swarm, log, report, fail }: SyncModules) {
    this.#options = options
    this.#swarm = swarm
    this.#log = log
    this.#report = report
    this.#fail = fail
    this.#random = swarm.random('spsa-sync')
    const { steps, maxAuthors } = options
    this.#exchanges = new Exchanges(
      { transport: swarm, log, limits: { steps, maxAuthors } },
      {
        began: (peer) => {
          this.#known.about(peer).exchangedAt = swarm.clock.now()
        },
        ended: (peer, brought, error) => this.#ended(peer, brought, error),
        fail,
      },
    )
  }

  start(): void {
    if (this.#gossip !== undefined || this.#stopped.signal.aborted) {
      throw new StarlingError('already-started', 'this sync was started before', {})
    }
    this.#gossip = new Gossip(this.#swarm, this.#log, this.#options, {
      segment: (segment, outcome) => this.#heard(segment, outcome),
      falseProof: (from, proof) => this.#blame(from, 'false-proof', `of ${proof.author}`),
      fail: this.#fail,
    })
    this.#unserve = serveSync(this.#swarm, this.#log, (peer, digest) => this.#told(peer, digest))
    this.#loops = Promise.all([this.#compare(), this.#write()])
  }

  async stop(): Promise<void> {
    this.#stopped.abort(new StarlingError('aborted', 'the sync was stopped', {}))
    this.#scopes.close()
    const exchanges = this.#exchanges.stop()
    this.#unserve?.()
    this.#gossip?.stop()
    await Promise.all([this.#loops, exchanges])
    await this.#log.flush()
  }

  now(peer: PeerName): void {
    this.#exchanges.soon(peer)
  }

  async publish(segment: Segment): Promise<void> {
    await this.#gossip?.publishSegment(segment, this.#stopped.signal)
  }

  agreeing(): PeerName[] {
    return this.#known.agreeing(this.#log.digest())
  }

  ready(signal: AbortSignal): Promise<void> {
    const ask = async (peer: PeerName): Promise<boolean> => {
      for (
        let running = this.#exchanges.running(peer);
        running !== undefined;
        running = this.#exchanges.running(peer)
      ) {
        await running
      }
      let answered = false
      await this.#exchanges.begin(peer, async (exchange) => {
        // First of all, because the rest may take long and fail.
        await exchange.own()
        answered = true
        await exchange.everything()
      })
      return answered
    }
    const modules = { clock: this.#swarm.clock, log: this.#log, report: this.#report }
    return untilReady({ ...modules, pick: (count) => this.#pick(count), ask, stopped: this.#stopped.signal }, signal)
  }

  /** Random members with an open connection, or any members where there is none of those. */
  #pick(count: number): PeerName[] {
    const members = this.#swarm
      .members()
      .filter(({ status }) => status.phase !== 'leaving')
      .map(({ peer }) => peer)
    const connected = new Set(this.#swarm.connected())
    const near = members.filter((peer) => connected.has(peer))
    return shuffled(near.length > 0 ? near : members, this.#random).slice(0, count)
  }

  async #compare(): Promise<void> {
    const { signal } = this.#stopped
    while (!signal.aborted) {
      // Half of jitter, so that a thousand peers do not ask in step.
      const pause = this.#options.syncEvery * (0.75 + 0.5 * this.#random.uniform())
      await this.#swarm.clock.sleep(pause, signal).catch(() => undefined)
      const [peer] = this.#pick(1)
      if (peer !== undefined) {
        this.now(peer)
      }
    }
  }

  async #write(): Promise<void> {
    const { signal } = this.#stopped
    while (!signal.aborted) {
      await this.#swarm.clock.sleep(FLUSH_INTERVAL, signal).catch(() => undefined)
      // Stopping writes by itself, when all that was under way has come to its end.
      if (!signal.aborted) {
        await this.#log.flush().catch(this.#fail)
      }
    }
  }

  /** A peer that asks says what its set is called; one with another set has perhaps what this peer lacks. */
  #told(peer: PeerName, digest: Uint8Array): void {
    const known = this.#known.about(peer)
    known.digest = digest
    const rested = this.#swarm.clock.now() - known.exchangedAt >= this.#options.syncEvery / 2
    if (rested && !equalBytes(digest, this.#log.digest())) {
      this.now(peer)
    }
  }

  #heard(segment: Segment, outcome: Acceptance): void {
    const { author, from } = segment
    if ('gap' in outcome) {
      this.#fill(author, from - 1)
    } else if ('refused' in outcome) {
      const { refused } = outcome
      this.#rejected(author, 'contributions', refused)
      if (refused === 'equivocation') {
        this.#spread(author)
      } else if (refused === 'bad-signature') {
        // The author signed the message that this came in, so it is to blame either way: this is garbage, or it continues another history
        // than the one that it signed before, and then the whole of that one is the proof.
        this.#swarm.penalize(author, 'bad-signature')
        if (this.#log.bytesOf(author).length > 0) {
          this.#fill(author, from - 1 + segment.bytes.length, true)
        }
      }
    }
  }

  /** Asks an author for what it has up to `count`, unless that comes by itself meanwhile; `whole`: from the first step on. */
  #fill(author: PeerName, count: number, whole = false): void {
    if (this.#gaps.size >= MAX_GAPS || this.#gaps.has(author) || author === this.#swarm.self) {
      return
    }
    this.#gaps.add(author)
    void this.#scopes
      .run((signal) => this.#swarm.clock.sleep(GAP_PATIENCE, signal).catch(() => undefined))
      .then(async () => {
        this.#gaps.delete(author)
        if (this.#stopped.signal.aborted || (!whole && this.#log.bytesOf(author).length >= count)) {
          return
        }
        const reached = await (this.#exchanges.running(author) ??
          this.#exchanges.begin(author, (exchange) => exchange.segments([[author, count]], whole)))
        const [other] = reached ? [] : this.#pick(1)
        if (other !== undefined) {
          this.now(other)
        }
      })
  }

  /** Judges the asked peer by what it brought and by what ended the exchange, and tells others what they may not know. */
  #ended(peer: PeerName, brought: Brought, error: StarlingError | undefined): void {
    const { digest, added, own, refused, caught } = brought
    const known = this.#known.about(peer)
    known.digest = digest ?? known.digest
    if (error === undefined && added > 0) {
      known.strikes = 0
    }
    if (own > 0) {
      this.#report({ kind: 'own-contributions-restored', peer, contributions: own })
    }
    for (const [author, reason] of refused) {
      this.#rejected(author, 'contributions', reason)
    }
    for (const author of caught) {
      this.#rejected(author, 'contributions', 'equivocation')
      this.#spread(author)
    }
    if (error instanceof PeerFault) {
      if (error.code === 'unserved-claims' && ++known.strikes < MAX_STRIKES) {
        this.#rejected(peer, 'contributions', error.message)
        return
      }
      known.strikes = 0
      this.#blame(peer, error.code, error.message)
    } else if (error?.code === 'answer-too-large' || (error?.code === 'bad-message' && error.data.misfit !== true)) {
      this.#blame(peer, 'bad-answer', error.message)
    }
    // Anything else is silence or a full house; another peer is asked the next time.
  }

  #blame(peer: PeerName, reason: string, detail: string): void {
    this.#swarm.penalize(peer, reason)
    this.#rejected(peer, 'contributions', `${reason}: ${detail}`)
  }

  #rejected(peer: PeerName, what: string, reason: string): void {
    if (this.#reports.allow(peer, 1, this.#swarm.clock.now())) {
      this.#report({ kind: 'rejected', peer, what, reason })
    }
  }

  /** Tells the run why an author is out; whoever misses it hears of it by comparing sets. */
  #spread(author: PeerName): void {
    const proof: EquivocationProof | undefined = this.#log.excluded().get(author)
    if (proof !== undefined) {
      this.#gossip?.publishProof(proof, this.#stopped.signal).catch(this.#fail)
    }
  }
}
