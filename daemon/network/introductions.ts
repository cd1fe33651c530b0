/** Finds out of each connected peer whether it is of our run, or serves runs without being of any; until then it counts as a stranger. */
import { type PeerName, StarlingError } from '../../protocols/index.ts'
import { ASK_PROTOCOL, type AskService } from './ask.ts'
import { HELLO, type Hello, hello, otherVersion, readHello } from './hello.ts'
import type { Ledger } from './ledger.ts'
import type { NetworkLog } from './types.ts'

/** Whole time for one hello, milliseconds: one round trip and a stream's opening, on a busy machine. */
const HELLO_TIMEOUT = 10_000
/** Tries before a silent peer is disconnected. */
const ATTEMPTS = 3
/** Time for a peer that may not take part to ask why, milliseconds: it cannot know, and would come again and again. */
const ASK_WHY = 2_000
/** Bootstrap nodes that are kept; one more is a stranger. */
const MAX_SERVICES = 16
/** Reasons remembered for those who ask after an introduction has failed; the oldest goes first. */
const MAX_FAILURES = 256
/** Nodes of a DHT that are kept beside the peers; one more is let go of. */
const MAX_DHT_NODES = 128
/** What a peer that does not speak our protocol may speak instead, with the version in the place of ours. */
const ASK_PREFIX = ASK_PROTOCOL.slice(0, ASK_PROTOCOL.lastIndexOf('/') + 1)

/** After these nothing better is to be expected of another try. */
const FINAL = new Set(['no-protocol', 'other-run', 'other-version', 'not-admitted', 'bad-message'])

/** An introduction under way. */
interface Introduction {
  done: Promise<boolean>
  /** What the peer's own hello proved, whatever becomes of ours: it may hang up before it answers. */
  stranger?: StarlingError
  /** Settled when it was told so. */
  told: PromiseWithResolvers<void>
}

export interface IntroductionsParts {
  self: PeerName
  run: string
  ask: AskService
  ledger: Ledger
  log: NetworkLog
  /** What this peer says to that one. */
  mine(peer: PeerName): Hello
  /** Why a peer that says this may not take part, if it may not. */
  refusal(peer: PeerName, said: Hello): string | undefined
  /** What libp2p protocols a connected peer speaks; empty when it does not say. */
  protocols(peer: PeerName): Promise<string[]>
  /** Whether a peer that speaks these is a node of the DHT that this one uses. */
  isDhtNode(protocols: readonly string[]): boolean
  isConnected(peer: PeerName): boolean
  /** Whether this node went to the peer by itself: who comes uninvited serves us in nothing. */
  chosen(peer: PeerName): boolean
  /** A hello of a peer of our run or of a bootstrap node, first or repeated. */
  heard(peer: PeerName, said: Hello): void
  /** The peer is of our run. */
  introduced(peer: PeerName): void
  /** It was of our run and its last connection is closed. */
  departed(peer: PeerName): void
  /** It is of another run or speaks another protocol. */
  stranger(peer: PeerName): void
  /** It does not say. */
  silent(peer: PeerName): void
  signal: AbortSignal
}

export class Introductions {
  readonly #parts: IntroductionsParts
  /** Bounded by the connections. */
  readonly #introduced = new Set<PeerName>()
  /** Bounded by the connections. */
  readonly #running = new Map<PeerName, Introduction>()
  /** Why the last introduction of a peer failed; at most MAX_FAILURES. */
  readonly #failures = new Map<PeerName, StarlingError>()
  /** Connected bootstrap nodes; bounded by MAX_SERVICES. */
  readonly #services = new Set<PeerName>()
  /** Connected nodes of the DHT that are neither; bounded by MAX_DHT_NODES. */
  readonly #dhtNodes = new Set<PeerName>()
  #sorted: PeerName[] = []

  constructor(parts: IntroductionsParts) {
    this.#parts = parts
    parts.ask.answer(HELLO, (peer, question) => this.#answer(peer, question))
  }

  has(peer: PeerName): boolean {
    return this.#introduced.has(peer)
  }

  /** Introduced peers with an open connection, sorted. */
  peers(): readonly PeerName[] {
    return this.#sorted
  }

  /** Why the last introduction of a peer failed; undefined for one that is introduced, or of whom that is not known any more. */
  failureOf(peer: PeerName): StarlingError | undefined {
    return this.has(peer) ? undefined : this.#failures.get(peer)
  }

  /** Connected nodes that serve runs without being of any. */
  services(): readonly PeerName[] {
    return [...this.#services]
  }

  /** Whether a peer is connected for other reasons than the run: it is a bootstrap node or a node of the DHT. */
  isBystander(peer: PeerName): boolean {
    return this.#services.has(peer) || this.#dhtNodes.has(peer)
  }

  /** Starts an introduction unless one runs. Resolves to whether the peer is of our run or a bootstrap node; never rejects. */
  begin(peer: PeerName): Promise<boolean> {
    return this.#start(peer).done
  }

  /** Waits for the introduction of a connected peer; throws why it failed. */
  async done(peer: PeerName): Promise<void> {
    if (this.has(peer) || (await this.begin(peer))) return
    throw (
      this.#failures.get(peer) ??
      new StarlingError('peer-unreachable', `${peer} went away before it said its run`, { peer })
    )
  }

  /** Says hello again to hear of new peers. */
  async refresh(peer: PeerName): Promise<void> {
    try {
      await this.#exchange(peer)
    } catch (error) {
      this.#parts.log.debug({ peer, error: (error as Error).message }, 'no peers heard of')
      if ((error as StarlingError).code === 'not-admitted') this.#turnAway(peer, error as StarlingError)
    }
  }

  forget(peer: PeerName): void {
    this.#services.delete(peer)
    this.#dhtNodes.delete(peer)
    if (!this.#introduced.delete(peer)) return
    this.#sort()
    this.#parts.departed(peer)
  }

  #start(peer: PeerName): Introduction {
    let running = this.#running.get(peer)
    if (running === undefined) {
      const started: Introduction = { done: Promise.resolve(false), told: Promise.withResolvers() }
      running = started
      this.#running.set(peer, started)
      started.done = this.#introduce(peer, started).finally(() => this.#running.delete(peer))
    }
    return running
  }

  async #introduce(peer: PeerName, running: Introduction): Promise<boolean> {
    let failure: StarlingError | undefined
    for (let attempt = 0; attempt < ATTEMPTS && this.#parts.isConnected(peer); attempt++) {
      try {
        await this.#exchange(peer)
        return true
      } catch (error) {
        failure = error as StarlingError
        // Its own hello may have been here first; that it refuses ours counts more.
        if (this.has(peer) && failure.code !== 'not-admitted') return true
        if (this.#parts.signal.aborted) return false
        if (running.stranger !== undefined) break
        if (FINAL.has(failure.code)) break
      }
    }
    failure = running.stranger ?? failure
    if (failure?.code === 'not-admitted' && running.stranger === undefined) await this.#letAsk(running)
    if (failure?.code === 'no-protocol') failure = await this.#speaksOther(peer, failure)
    if (failure !== undefined) this.#turnAway(peer, failure)
    return false
  }

  async #exchange(peer: PeerName): Promise<void> {
    const { ask, mine } = this.#parts
    // Without the network's signal, where a listener for each introduction would pile up: stopping closes all lanes, which ends this too.
    const answer = await ask.ask(peer, HELLO, hello.encode(mine(peer)), { timeout: HELLO_TIMEOUT })
    this.#check(peer, readHello(answer, peer, this.#parts.self))
  }

  async #letAsk({ told }: Introduction): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ASK_WHY)
    })
    await Promise.race([told.promise, late])
    clearTimeout(timer)
  }

  /** Why a peer that does not speak our protocol is turned away: it may speak another version of it. Undefined for a node of the DHT, which is kept. */
  async #speaksOther(peer: PeerName, failure: StarlingError): Promise<StarlingError | undefined> {
    const { self, protocols, isDhtNode } = this.#parts
    const spoken = await protocols(peer)
    const other = spoken.find((one) => one.startsWith(ASK_PREFIX))
    if (other !== undefined) return otherVersion(peer, other.slice(ASK_PREFIX.length), self)
    if (!isDhtNode(spoken) || this.#dhtNodes.size >= MAX_DHT_NODES) return failure
    if (this.#parts.isConnected(peer)) this.#dhtNodes.add(peer)
    return undefined
  }

  #answer(peer: PeerName, question: Uint8Array): Uint8Array {
    try {
      this.#check(peer, readHello(question, peer, this.#parts.self))
    } catch (error) {
      if ((error as StarlingError).code === 'bad-message') {
        this.#parts.ledger.reject(peer, 'malformed-frame', (error as Error).message)
        throw error
      }
      // Not turned away yet: it should hear why, in the answer, before the connection closes.
      if (this.#parts.isConnected(peer)) {
        const running = this.#start(peer)
        running.stranger = error as StarlingError
        // The answer is on its way in this turn of the event loop.
        setImmediate(running.told.resolve)
      }
      throw error
    }
    return hello.encode(this.#parts.mine(peer))
  }

  #check(peer: PeerName, said: Hello): void {
    const { run, heard, introduced, isConnected, chosen } = this.#parts
    if (said.run !== run)
      throw new StarlingError('other-run', `${peer} is in run ${said.run}, this peer in ${run}`, {
        peer,
        run: said.run,
      })
    if (!isConnected(peer)) return
    if (said.role === 'bootstrap') {
      if (!this.#services.has(peer) && (this.#services.size >= MAX_SERVICES || !chosen(peer)))
        throw new StarlingError('other-run', `${peer} is a bootstrap node that nobody asked for`, { peer })
      this.#services.add(peer)
      heard(peer, said)
      return
    }
    const refusal = this.#parts.refusal(peer, said)
    if (refusal !== undefined) throw new StarlingError('not-admitted', refusal, { peer })
    heard(peer, said)
    if (this.#introduced.has(peer)) return
    this.#introduced.add(peer)
    this.#failures.delete(peer)
    this.#sort()
    introduced(peer)
  }

  #turnAway(peer: PeerName, failure: StarlingError): void {
    const { ledger, log, stranger, silent } = this.#parts
    this.#failures.delete(peer)
    this.#failures.set(peer, failure)
    if (this.#failures.size > MAX_FAILURES) this.#failures.delete(this.#failures.keys().next().value as PeerName)
    const { code } = failure
    if (code === 'no-protocol' || code === 'other-run' || code === 'other-version' || code === 'not-admitted') {
      ledger.reject(peer, code, failure.message)
      log.warn({ peer, reason: code }, `disconnected a peer that is not of this run: ${failure.message}`)
      stranger(peer)
    } else if (failure.code === 'bad-message') {
      ledger.reject(peer, 'malformed-frame', failure.message)
      stranger(peer)
    } else {
      // It may only be busy: it is dialled again as usual.
      log.debug({ peer, error: failure.message }, 'disconnected a peer that does not say its run')
      silent(peer)
    }
  }

  #sort(): void {
    this.#sorted = [...this.#introduced].sort()
  }
}
