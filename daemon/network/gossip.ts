/** News to the whole run: gossipsub with signed messages, a fixed list of topics, and validators that say why. */
import { setTimeout as delay } from 'node:timers/promises'
import {
  type GossipSub,
  type GossipsubOpts,
  gossipsub,
  type Message,
  type SignedMessage,
  StrictSign,
  TopicValidatorResult,
} from '@libp2p/gossipsub'
import { createPeerScoreParams, createTopicScoreParams, type TopicScoreParams } from '@libp2p/gossipsub/score'
import type { PeerId } from '@libp2p/interface'
import { isPrivateIp } from '@libp2p/utils'
import {
  type Clock,
  type GossipMessage,
  type PeerName,
  StarlingError,
  type TopicHandler,
} from '../../protocols/index.ts'
import type { Counters } from './counters.ts'
import { limitFloods } from './flood.ts'
import type { Ledger } from './ledger.ts'
import type { NetworkLog } from './types.ts'

/** Longest payload, bytes. Bulk is pulled, not gossiped. */
export const MAX_GOSSIP_BYTES = 64 * 1024
/** Longest frame of the router, bytes: some messages asked for by id may come together. */
const MAX_RPC_BYTES = 2 * 1024 * 1024
/** Bytes waiting for one peer before its stream is given up; the router has no back-pressure of its own. */
const MAX_OUTBOUND_BYTES = 8 * 1024 * 1024
/** A busy event loop keeps promises late; 3 s, the default, would punish peers for training. Milliseconds. */
const IWANT_FOLLOW_UP = 12_000
/** Messages accepted and not yet handled; the oldest is dropped, gossip promises nothing. */
const MAX_UNHANDLED = 1_024
/** Messages handled before the event loop gets its turn. */
const HANDLE_BATCH = 32
/**
 * Messages from this size on, bytes, are forwarded only after a while, told at once to have come (IDONTWANT), and not forwarded to those who say the same meanwhile: in a small
 * swarm all are each other's neighbours, and each message would come from every one of them. What says so takes about 90 bytes on the wire.
 */
const HELD_BYTES = 1_024
/** The while: at random between these, so that one of several forwarders is first; longer than most ways to another peer. Milliseconds. */
const HOLD = [50, 250] as const
/** Messages held at once; more are forwarded as they come. */
const MAX_HELD = 256
/** Invalid messages are forgotten over hours, not heartbeats: the score's counter times this, each second. */
const INVALID_DECAY = 0.9995
/** Peers of one public address from which on all of them are marked down (P6): where the places of an address end, so that it never hits who was let in. */
const COLOCATED = 16
/** Scores of peers that went away are kept as long as a ledger's points halve, milliseconds: identities cost nothing, and each would take room for an hour. */
const RETAIN_SCORE = 10 * 60_000
/** Whether the router ignores somebody altogether is looked at this often, milliseconds, and each time counts as this many points: disconnected after a minute. */
const JUDGE_EVERY = 5_000
const IGNORED = -80 // the router's own default for it
const IGNORED_POINTS = 2
/**
 * Score of a connected peer that has not shown yet that it may take part, where that is asked for: what it says is read, as its subscriptions must be,
 * and it is sent nothing. Between the router's thresholds for publishing to a peer, -50, and for not listening to it at all, -80.
 */
const UNPROVEN = -60
/** Who joins a mesh before it has shown that is sent away for so long, milliseconds; the router's default is a minute. */
const UNPROVEN_BACKOFF = 5_000

const WIRE_VERSION = 1

/** Full name of a topic: network, version of the wire format, run, and the short name. */
export function topicName(run: string, topic: string): string {
  return `/starling/${WIRE_VERSION}/${run}/${topic}`
}

/**
 * Rare messages are normal here, so P3 and P3b (too few deliveries) are off. P2 rewards a little, P4 punishes invalid messages:
 * four from one forwarder are enough to be ignored.
 */
function topicScore(): TopicScoreParams {
  return createTopicScoreParams({
    topicWeight: 1,
    timeInMeshWeight: 0,
    firstMessageDeliveriesWeight: 0.1,
    firstMessageDeliveriesDecay: 0.99,
    firstMessageDeliveriesCap: 100,
    meshMessageDeliveriesWeight: 0,
    meshFailurePenaltyWeight: 0,
    invalidMessageDeliveriesWeight: -5,
    invalidMessageDeliveriesDecay: INVALID_DECAY,
  })
}

/** Addresses that many honest peers share: private ones, and those of relays, which are added. The router asks nothing of this but `has`. */
export class SharedAddresses extends Set<string> {
  override has(ip: string): boolean {
    return super.has(ip) || isPrivateIp(ip) === true
  }
}

/**
 * The router's options for a run; `score` is that of our own ledger, `shared` addresses that many peers may come from (relays), to which more may be added. With `admitted` nothing
 * is sent to connected peers that are not.
 */
export function gossipOptions(
  run: string,
  topics: readonly string[],
  score: (peer: PeerName) => number,
  shared: SharedAddresses,
  admitted?: (peer: PeerName) => boolean,
): Partial<GossipsubOpts> {
  const names = topics.map((topic) => topicName(run, topic))
  return {
    globalSignaturePolicy: StrictSign,
    allowedTopics: names,
    runOnLimitedConnection: true,
    allowPublishToZeroTopicPeers: true,
    ...(admitted === undefined ? {} : { pruneBackoff: UNPROVEN_BACKOFF }),
    fallbackToFloodsub: false,
    floodPublish: false,
    doPX: false,
    emitSelf: false,
    gossipsubIWantFollowupMs: IWANT_FOLLOW_UP,
    maxInboundDataLength: MAX_RPC_BYTES,
    maxOutboundBufferSize: MAX_OUTBOUND_BYTES,
    maxTopicBytesPerPeer: 64 * 1024,
    maxInboundStreams: 2,
    maxOutboundStreams: 2,
    idontwantMinDataSize: HELD_BYTES,
    decodeRpcLimits: {
      maxSubscriptions: 64,
      maxMessages: 256,
      maxIhaveMessageIDs: 5_000,
      maxIwantMessageIDs: 5_000,
      maxIdontwantMessageIDs: 512,
      maxControlMessages: 64,
      maxPeerInfos: 16,
    },
    scoreParams: createPeerScoreParams({
      topics: Object.fromEntries(names.map((name) => [name, topicScore()])),
      appSpecificScore: (peer) => (admitted?.(peer) === false ? UNPROVEN : 0) + score(peer),
      appSpecificWeight: 1,
      IPColocationFactorThreshold: COLOCATED,
      IPColocationFactorWhitelist: shared,
      retainScore: RETAIN_SCORE,
    }),
  }
}

export function gossipService(options: Partial<GossipsubOpts>): ReturnType<typeof gossipsub> {
  return gossipsub(options)
}

export interface GossipParts {
  router: GossipSub
  run: string
  topics: readonly string[]
  ledger: Ledger
  counters: Counters
  clock: Clock
  log: NetworkLog
  /** Whether what a connected peer sends is taken. Default: all of it. */
  admitted?: ((peer: PeerName) => boolean) | undefined
}

export class Gossip {
  readonly #parts: GossipParts
  /** Full name to short name. */
  readonly #names: Map<string, string>
  /** By full name; bounded by the run's topics. */
  readonly #handlers = new Map<string, TopicHandler>()
  /** Bounded by MAX_UNHANDLED. */
  readonly #unhandled: GossipMessage[] = []
  #scheduled = false
  #started = false
  /** Messages that are held before they are forwarded; at most MAX_HELD. */
  #held = 0
  #stopped = new AbortController()
  #judging: NodeJS.Timeout | undefined
  /** Messages dropped because the handlers did not keep up. */
  dropped = 0

  constructor(parts: GossipParts) {
    this.#parts = parts
    this.#names = new Map(parts.topics.map((topic) => [topicName(parts.run, topic), topic]))
    limitFloods(parts.router, parts)
  }

  /** To be called when the router runs. */
  start(): void {
    this.#started = true
    this.#stopped = new AbortController()
    this.#judging = setInterval(() => this.#judge(), JUDGE_EVERY)
    for (const name of this.#handlers.keys()) this.#parts.router.subscribe(name)
  }

  stop(): void {
    this.#started = false
    clearInterval(this.#judging)
    this.#stopped.abort()
    this.#unhandled.length = 0
  }

  async publish(topic: string, data: Uint8Array, signal?: AbortSignal): Promise<number> {
    if (signal?.aborted) throw new StarlingError('aborted', 'the message was given up by its author', { topic })
    const name = this.#name(topic)
    if (data.byteLength > MAX_GOSSIP_BYTES) {
      const text = `a message of ${data.byteLength} bytes to topic ${topic}, at most ${MAX_GOSSIP_BYTES} are allowed`
      throw new StarlingError('message-too-large', text, { topic, bytes: data.byteLength })
    }
    if (!this.#started) return 0
    const { recipients } = await this.#parts.router.publish(name, data)
    this.#parts.counters.gossip(topic, data.byteLength * recipients.length, 0)
    return recipients.length
  }

  subscribe(topic: string, handler: TopicHandler): () => void {
    const name = this.#name(topic)
    if (this.#handlers.has(name))
      throw new StarlingError('duplicate-topic', `topic ${topic} has a handler already`, { topic })
    this.#handlers.set(name, handler)
    this.#parts.router.topicValidators.set(name, (forwarder, message) => this.#validate(forwarder, message))
    if (this.#started) this.#parts.router.subscribe(name)
    return () => {
      if (this.#handlers.get(name) !== handler) return
      this.#handlers.delete(name)
      this.#parts.router.topicValidators.delete(name)
      if (this.#started) this.#parts.router.unsubscribe(name)
    }
  }

  subscribers(topic: string): PeerName[] {
    return this.#started ? this.#parts.router.getSubscribers(this.#name(topic)).map(String).sort() : []
  }

  /** Whom the router ignores is of no use here, and holds a place. */
  #judge(): void {
    const { ledger } = this.#parts
    const router = this.#parts.router as GossipSub & { score: { score(peer: string): number } }
    for (const peer of router.getPeers().map(String)) {
      const score = router.score.score(peer)
      if (score < IGNORED && ledger.score(peer) > IGNORED) {
        ledger.reject(peer, 'gossip-score', `the gossip router ignores it, at ${score.toFixed(0)}`, IGNORED_POINTS)
      }
    }
  }

  #name(topic: string): string {
    const name = topicName(this.#parts.run, topic)
    if (this.#names.has(name)) return name
    const allowed = this.#parts.topics.join(', ')
    throw new StarlingError('unknown-topic', `topic '${topic}' is none of this run's: ${allowed}`, { topic })
  }

  /** Called by the router with each new message, its signature checked. One that is accepted is handled at once, and forwarded when this resolves. */
  #validate(forwarder: PeerId, message: Message): TopicValidatorResult | Promise<TopicValidatorResult> {
    const handler = this.#handlers.get(message.topic)
    if (handler === undefined || message.type !== 'signed') return TopicValidatorResult.Ignore
    if (this.#parts.admitted?.(forwarder.toString()) === false) return TopicValidatorResult.Ignore
    if (message.data.byteLength > MAX_GOSSIP_BYTES)
      return this.#refuse(forwarder, `a message of ${message.data.byteLength} bytes`)
    try {
      const plain = this.#plain(message)
      const verdict = handler.validate(plain)
      if (verdict.verdict === 'accept') {
        this.#take(plain)
        return plain.data.byteLength < HELD_BYTES ? TopicValidatorResult.Accept : this.#hold()
      }
      if (verdict.verdict === 'ignore') return TopicValidatorResult.Ignore
      return this.#refuse(forwarder, verdict.reason)
    } catch (error) {
      // A bug of ours must not cost the forwarder anything.
      this.#parts.log.warn({ topic: message.topic, error: (error as Error).stack }, 'a validator failed')
      return TopicValidatorResult.Ignore
    }
  }

  #refuse(forwarder: PeerId, reason: string): TopicValidatorResult {
    this.#parts.ledger.reject(forwarder.toString(), 'invalid-message', reason)
    return TopicValidatorResult.Reject
  }

  #plain(message: SignedMessage): GossipMessage {
    return { topic: this.#names.get(message.topic) ?? message.topic, from: message.from.toString(), data: message.data }
  }

  /** Accepts after a while. */
  async #hold(): Promise<TopicValidatorResult> {
    if (this.#held >= MAX_HELD) return TopicValidatorResult.Accept
    this.#held++
    const [least, most] = HOLD
    const options = { ref: false, signal: this.#stopped.signal }
    try {
      await delay(least + (most - least) * Math.random(), undefined, options)
      return TopicValidatorResult.Accept
    } catch {
      // The router is being stopped.
      return TopicValidatorResult.Ignore
    } finally {
      this.#held--
    }
  }

  #take(message: GossipMessage): void {
    if (this.#unhandled.length >= MAX_UNHANDLED) {
      this.#unhandled.shift()
      this.dropped++
    }
    this.#unhandled.push(message)
    this.#schedule()
  }

  /** Handlers run after the router has gone on, a batch in each turn of the event loop. */
  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      for (const message of this.#unhandled.splice(0, HANDLE_BATCH)) this.#handle(message)
      if (this.#unhandled.length > 0) this.#schedule()
    })
  }

  #handle(message: GossipMessage): void {
    this.#parts.counters.gossip(message.topic, 0, message.data.byteLength)
    try {
      this.#handlers.get(topicName(this.#parts.run, message.topic))?.handle(message)
    } catch (error) {
      this.#parts.log.warn(
        { topic: message.topic, from: message.from, error: (error as Error).stack },
        'a topic handler failed',
      )
    }
  }
}
