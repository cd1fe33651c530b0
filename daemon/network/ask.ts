/** Questions and answers between peers: the lanes to each peer, the answerers, and the limits on what others may ask of us. */
import type { Connection, Libp2p, Stream } from '@libp2p/interface'
import {
  type Answerer,
  type AskOptions,
  type Clock,
  type PeerName,
  RateLimit,
  StarlingError,
} from '../../protocols/index.ts'
import { bestOf, connectionsWith } from './connections.ts'
import type { Counters } from './counters.ts'
import { isText, MAX_ANSWER, MAX_QUESTION } from './frames.ts'
import { AskLane, aborted, LANES, type LaneName, unreachable } from './lane.ts'
import type { Ledger } from './ledger.ts'
import { type AskServer, serve } from './server.ts'
import { DEFAULT_RATES, type NetworkLog, type Rates } from './types.ts'

/** The version is in the id: peers with another one do not meet by mistake. */
export const ASK_PROTOCOL = '/starling/ask/1.0.0'

export const DEFAULT_TIMEOUT = 10_000
export const DEFAULT_MAX_ANSWER = 64 * 1024

/** Questions of one peer being answered at once, over all its streams, cancelled ones included until their answerer ends. */
export const MAX_RUNNING_PER_PEER = LANES.control.depth + LANES.bulk.depth
/** Questions being answered at once, whoever asks. */
export const MAX_RUNNING = 128
/** Streams of one peer served at once: two lanes, and two for those that replace broken ones we have not heard of yet. */
export const MAX_STREAMS_PER_PEER = 4
/** An answerer is told to stop after this, milliseconds: longer than any asker should wait. */
export const ANSWER_TIMEOUT = 60_000
/** Bytes of question and answer together that cost as much as a small question. */
const WORK_BYTES = 256 * 1024
/** What an introduction costs: its answer names others, and nobody needs many. */
const INTRODUCTION_WORK = 20
/** Share of a ledger point for each question over the rate: a thousand are a fault or two, a handful is nothing. */
const RATE_POINTS = 0.02

export interface AskParts {
  libp2p: Libp2p
  ledger: Ledger
  counters: Counters
  clock: Clock
  log: NetworkLog
  rates?: Partial<Rates> | undefined
  /** Resolves to whether a peer is of our run; others may ask nothing but `introduction`. */
  introduced(peer: PeerName): Promise<boolean>
  introduction: string
  /** Connects with a peer that is to be asked. Rejects with 'peer-unreachable'. */
  reach(peer: PeerName): Promise<void>
}

interface Served {
  servers: Set<AskServer>
  running: number
}

export class AskService {
  readonly #parts: AskParts
  /** Bounded by the methods of this program. */
  readonly #answerers = new Map<string, Answerer>()
  /** At most two lanes for each connected peer; dropped on disconnect. */
  readonly #lanes = new Map<string, AskLane>()
  /** When a connected peer asked or was asked the last time; dropped on disconnect. */
  readonly #used = new Map<PeerName, number>()
  /** One entry for each peer with a stream or a question; dropped with its last. */
  readonly #served = new Map<PeerName, Served>()
  readonly #perPeer: RateLimit
  readonly #total: RateLimit
  #running = 0
  #closed = false

  constructor(parts: AskParts) {
    this.#parts = parts
    const rates = { ...DEFAULT_RATES, ...parts.rates }
    this.#perPeer = new RateLimit({ rate: rates.perPeer, burst: rates.perPeerBurst, keys: 1_024 })
    this.#total = new RateLimit({ rate: rates.total, burst: rates.totalBurst, keys: 1 })
  }

  async start(): Promise<void> {
    await this.#parts.libp2p.handle(ASK_PROTOCOL, (stream, connection) => this.#accept(stream, connection), {
      maxInboundStreams: MAX_STREAMS_PER_PEER,
      maxOutboundStreams: MAX_STREAMS_PER_PEER,
      runOnLimitedConnection: true,
    })
  }

  async stop(): Promise<void> {
    this.#closed = true
    for (const lane of this.#lanes.values()) lane.close()
    this.#lanes.clear()
    for (const { servers } of [...this.#served.values()]) for (const server of [...servers]) server.close()
    await this.#parts.libp2p.unhandle(ASK_PROTOCOL)
  }

  answer(method: string, answerer: Answerer): () => void {
    if (!isText(method))
      throw new StarlingError('bad-method', `'${method}' is no method: up to 64 of a-z, 0-9 and ./:-`, { method })
    if (this.#answerers.has(method))
      throw new StarlingError('duplicate-answerer', `'${method}' is answered already`, { method })
    this.#answerers.set(method, answerer)
    return () => {
      if (this.#answerers.get(method) === answerer) this.#answerers.delete(method)
    }
  }

  async ask(peer: PeerName, method: string, question: Uint8Array, options: AskOptions = {}): Promise<Uint8Array> {
    const maxAnswer = options.maxAnswer ?? DEFAULT_MAX_ANSWER
    if (!isText(method))
      throw new StarlingError('bad-method', `'${method}' is no method: up to 64 of a-z, 0-9 and ./:-`, { method })
    if (question.byteLength > MAX_QUESTION) {
      const text = `a question of ${question.byteLength} bytes to ${method}, at most ${MAX_QUESTION} are allowed`
      throw new StarlingError('question-too-large', text, { method })
    }
    if (!Number.isInteger(maxAnswer) || maxAnswer < 0 || maxAnswer > MAX_ANSWER) {
      throw new StarlingError('bad-limit', `maxAnswer ${maxAnswer} is not a whole number up to ${MAX_ANSWER}`, {
        method,
      })
    }
    if (options.signal?.aborted) throw aborted(options.signal)
    let timeout = options.timeout ?? DEFAULT_TIMEOUT
    if (!this.#closed && method !== this.#parts.introduction && this.#connection(peer) === undefined) {
      const started = this.#parts.clock.now()
      await this.#reach(peer, method, timeout, options.signal)
      timeout = Math.max(1, timeout - (this.#parts.clock.now() - started))
    }
    const lane = this.#lane(peer, maxAnswer > LANES.control.maxAnswer ? 'bulk' : 'control')
    if (method !== this.#parts.introduction) this.#used.set(peer, this.#parts.clock.now())
    const { clock, counters } = this.#parts
    const sent = clock.now()
    try {
      const answer = await lane.ask({ method, question, maxAnswer, timeout, signal: options.signal })
      if (!method.startsWith('network/')) this.#parts.ledger.worked(peer)
      return answer
    } finally {
      counters.asked(method, clock.now() - sent)
    }
  }

  /** When a peer asked this one or was asked by it the last time, if ever since it is connected. */
  usedAt(peer: PeerName): number | undefined {
    return this.#used.get(peer)
  }

  /** Drops everything kept for a peer that has no connection any more. */
  forget(peer: PeerName): void {
    this.#used.delete(peer)
    for (const name of ['control', 'bulk'] as const) {
      const key = `${name} ${peer}`
      this.#lanes.get(key)?.close()
      this.#lanes.delete(key)
    }
    for (const server of [...(this.#served.get(peer)?.servers ?? [])]) server.close()
  }

  /** Lets further questions to a peer go over its best connection, which may be a new one. */
  renew(peer: PeerName): void {
    for (const name of ['control', 'bulk'] as const) this.#lanes.get(`${name} ${peer}`)?.renew()
  }

  /** Bytes held for others' questions and for answers to them. */
  get buffered(): number {
    let sum = 0
    for (const { servers } of this.#served.values()) for (const server of servers) sum += server.buffered
    return sum
  }

  /** Waits for a connection, as long as the asker would wait for its answer. */
  #reach(peer: PeerName, method: string, timeout: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
      }
      const onAbort = (): void => {
        settle()
        reject(aborted(signal as AbortSignal))
      }
      const timer = setTimeout(() => {
        settle()
        const text = `no connection for ${method} within ${timeout} ms`
        reject(new StarlingError('ask-timeout', text, { method, milliseconds: timeout }))
      }, timeout)
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#parts.reach(peer).then(resolve, reject).finally(settle)
    })
  }

  #lane(peer: PeerName, name: LaneName): AskLane {
    if (this.#closed || this.#connection(peer) === undefined) throw unreachable('there is no connection to it')
    const key = `${name} ${peer}`
    let lane = this.#lanes.get(key)
    if (lane === undefined) {
      lane = new AskLane({
        lane: name,
        open: (signal) => this.#open(peer, signal),
        fault: (reason, detail) => this.#parts.ledger.reject(peer, reason, detail),
        count: (method, sent, received) => this.#parts.counters.ask(method, sent, received),
      })
      this.#lanes.set(key, lane)
    }
    return lane
  }

  #connection(peer: PeerName): Connection | undefined {
    return bestOf(connectionsWith(this.#parts.libp2p, peer))
  }

  async #open(peer: PeerName, signal: AbortSignal): Promise<Stream> {
    const connection = this.#connection(peer)
    if (connection === undefined) throw unreachable('there is no connection to it')
    try {
      return await connection.newStream(ASK_PROTOCOL, {
        signal,
        maxOutboundStreams: MAX_STREAMS_PER_PEER,
        runOnLimitedConnection: true,
      })
    } catch (error) {
      // A connection that was closed meanwhile may say nothing at all.
      if ((error as Error | undefined)?.name !== 'UnsupportedProtocolError')
        throw error ?? unreachable('it closed the connection')
      throw new StarlingError(
        'no-protocol',
        `the peer does not speak ${ASK_PROTOCOL}`,
        { protocol: ASK_PROTOCOL },
        { cause: error },
      )
    }
  }

  /** Called by libp2p with each new stream. Synchronous, so that the listener is there before anything else happens. */
  #accept(stream: Stream, connection: Connection): void {
    const peer = connection.remotePeer.toString()
    const served = this.#served.get(peer) ?? { servers: new Set(), running: 0 }
    if (this.#closed || served.servers.size >= MAX_STREAMS_PER_PEER) {
      stream.abort(new Error('no more streams'))
      return
    }
    this.#served.set(peer, served)
    const ref: { server?: AskServer } = {}
    let closed = false
    const server = serve(stream, {
      answer: (method, question, signal, limit) => this.#answer(peer, served, method, question, signal, limit),
      fault: (reason, detail) => this.#parts.ledger.reject(peer, reason, detail),
      count: (method, sent, received) => {
        this.#parts.counters.ask(this.#answerers.has(method) ? method : 'unknown', sent, received)
      },
      closed: () => {
        closed = true
        if (ref.server !== undefined) served.servers.delete(ref.server)
        this.#tidy(peer, served)
      },
    })
    ref.server = server
    if (!closed) served.servers.add(server)
    this.#tidy(peer, served)
  }

  #tidy(peer: PeerName, served: Served): void {
    if (served.servers.size === 0 && served.running === 0 && this.#served.get(peer) === served)
      this.#served.delete(peer)
  }

  async #answer(
    peer: PeerName,
    served: Served,
    method: string,
    question: Uint8Array,
    signal: AbortSignal,
    limit: number,
  ): Promise<Uint8Array> {
    const { ledger, clock, log, introduced, introduction } = this.#parts
    const now = clock.now()
    const work =
      method === introduction ? INTRODUCTION_WORK : 1 + Math.floor((question.byteLength + limit) / WORK_BYTES)
    if (!this.#perPeer.allow(peer, work, now)) {
      ledger.reject(peer, 'rate-limit', `more questions than allowed (${method})`, RATE_POINTS)
      throw new StarlingError('rate-limited', 'you ask more questions than this peer answers')
    }
    if (!this.#total.allow('', work, now) || this.#running >= MAX_RUNNING || served.running >= MAX_RUNNING_PER_PEER) {
      throw new StarlingError('peer-busy', 'this peer answers as many questions as it can')
    }
    // Introductions say nothing of whether a connection is needed.
    if (method !== introduction && this.#connection(peer) !== undefined) this.#used.set(peer, now)
    const answerer = this.#answerers.get(method)
    if (answerer === undefined) throw new StarlingError('unknown-method', `this peer does not answer ${method}`)
    this.#running++
    served.running++
    // Not AbortSignal.timeout, whose timer would outlive the answer: at a few hundred chunks a second that is tens of thousands of them.
    const late = new AbortController()
    const timer = setTimeout(
      () => late.abort(new StarlingError('aborted', `no answer within ${ANSWER_TIMEOUT} ms`)),
      ANSWER_TIMEOUT,
    )
    try {
      // Its hello may still be on the way when its first question is here.
      if (method !== introduction && !(await introduced(peer))) {
        throw new StarlingError('not-introduced', 'this peer does not know that you are of its run')
      }
      // Who asked may be gone by now; an answerer that waits for the signal to abort would wait in vain.
      signal.throwIfAborted()
      return await answerer(peer, question, AbortSignal.any([signal, late.signal]))
    } catch (error) {
      if (!(error instanceof StarlingError) && !signal.aborted) {
        log.warn({ peer, method, error: (error as Error)?.stack ?? String(error) }, 'an answerer failed')
      }
      throw error
    } finally {
      clearTimeout(timer)
      this.#running--
      served.running--
      this.#tidy(peer, served)
    }
  }
}
