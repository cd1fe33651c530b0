/**
 * One peer's router: gossipsub 1.2 without scores and peer exchange, and without a lasting fan-out: to a topic that it does not hear
 * itself, a peer publishes to random subscribers, anew each time. Where the specification leaves room it does what js-libp2p's router does.
 */
import { type PeerName, type Random, shuffled } from '../../protocols/index.ts'
import type { GossipCopy, GossipFrame, GossipNews } from './frames.ts'
import { History } from './history.ts'
import type { GossipParameters } from './parameters.ts'

/** Ids told of or asked for at once, and lists of either kind taken from one peer between two heartbeats: the router's own limits. */
const MAX_IDS = 5_000
const MAX_LISTS = 10

/** Where a router gets its environment from. */
export interface RouterParts {
  parameters: GossipParameters
  random: Random
  now(): number
  send(to: PeerName, frame: GossipFrame): void
  /** Looks at a new message; if it is to be taken in and forwarded, gives what hands it over once that is done. */
  validate(news: GossipNews, forwarder: PeerName): (() => void) | undefined
  counters: RouterCounters
}

/** What a router counts. */
export interface RouterCounters {
  /** Messages of this peer, and copies of them handed to others at once. */
  published: number
  publishedCopies: number
  /** Messages of others that came, the links that their first copies took in sum, and the copies that came after the first. */
  first: number
  firstHops: number
  duplicates: number
  /** Messages among the first that came because this peer had asked for them. */
  recovered: number
  /** Frames sent and their bytes inside the streams, before multiplexing and encryption. */
  frames: number
  streamBytes: number
}

/** What a router knows of a topic. */
interface Topic {
  /** Whether this peer hears it. */
  joined: boolean
  mesh: Set<PeerName>
  /** Connected peers that hear it. */
  subscribers: Set<PeerName>
  /** Until when a pruned peer is left alone. Bounded by the peers of the network. */
  backoff: Map<PeerName, number>
}

export class Router {
  readonly #parts: RouterParts
  readonly #history: History
  readonly #topics = new Map<string, Topic>()
  /** Connected peers: true for those that this peer dialled. */
  readonly #links = new Map<PeerName, boolean>()
  /** Lists of known and of wanted messages that a peer sent since the last heartbeat. */
  readonly #told = new Map<PeerName, number>()
  readonly #asked = new Map<PeerName, number>()

  constructor(parts: RouterParts) {
    this.#parts = parts
    this.#history = new History(parts.parameters)
  }

  connected(peer: PeerName, dialled: boolean): void {
    this.#links.set(peer, dialled)
    const joined = [...this.#topics].filter(([, topic]) => topic.joined)
    if (joined.length > 0) {
      this.#parts.send(peer, { subscriptions: joined.map(([topic]) => ({ topic, subscribe: true })) })
    }
  }

  disconnected(peer: PeerName): void {
    this.#links.delete(peer)
    this.#history.forgetPeer(peer)
    for (const { mesh, subscribers } of this.#topics.values()) {
      mesh.delete(peer)
      subscribers.delete(peer)
    }
  }

  /** Neighbours in the mesh of a topic. */
  mesh(name: string): readonly PeerName[] {
    return [...(this.#topics.get(name)?.mesh ?? [])]
  }

  subscribe(name: string): void {
    const topic = this.#topic(name)
    topic.joined = true
    for (const peer of this.#links.keys()) {
      this.#parts.send(peer, { subscriptions: [{ topic: name, subscribe: true }] })
    }
    for (const peer of this.#pick(topic, this.#parts.parameters.degree, (other) => !topic.backoff.has(other))) {
      topic.mesh.add(peer)
      this.#parts.send(peer, { graft: [name] })
    }
  }

  unsubscribe(name: string): void {
    const { unsubscribeBackoff } = this.#parts.parameters
    const topic = this.#topic(name)
    topic.joined = false
    for (const peer of this.#links.keys()) {
      this.#parts.send(peer, { subscriptions: [{ topic: name, subscribe: false }] })
    }
    for (const peer of topic.mesh) {
      this.#backOff(topic, peer, unsubscribeBackoff)
      this.#parts.send(peer, { prune: [{ topic: name, backoff: unsubscribeBackoff }] })
    }
    topic.mesh.clear()
  }

  /** Sends out a message of this peer; the number of copies sent. */
  publish(news: GossipNews): number {
    const { counters, parameters, now } = this.#parts
    this.#history.see(news.id, now())
    this.#history.keep({ news, hops: 0 })
    const topic = this.#topic(news.topic)
    const to = parameters.floodPublish
      ? [...topic.subscribers]
      : [...topic.mesh, ...this.#pick(topic, parameters.degree - topic.mesh.size, (peer) => !topic.mesh.has(peer))]
    for (const peer of to) {
      this.#parts.send(peer, { messages: [{ news, hops: 1 }] })
    }
    counters.published++
    counters.publishedCopies += to.length
    return to.length
  }

  /** Takes in a frame; true when a new message was in it, so that somebody above may have something to do. */
  receive(from: PeerName, frame: GossipFrame): boolean {
    const grafted = (frame.subscriptions ?? []).filter((one) => this.#subscription(from, one.topic, one.subscribe))
    if (grafted.length > 0) {
      this.#parts.send(from, { graft: grafted.map(({ topic }) => topic) })
    }
    let news = false
    for (const copy of frame.messages ?? []) {
      news = this.#message(from, copy) || news
    }
    const iwant = frame.ihave === undefined ? [] : this.#wantedOf(from, frame.ihave)
    const messages = frame.iwant === undefined ? [] : this.#askedBy(from, frame.iwant)
    const refused = (frame.graft ?? []).filter((topic) => !this.#graft(from, topic))
    for (const { topic: name, backoff } of frame.prune ?? []) {
      const topic = this.#topic(name)
      topic.mesh.delete(from)
      this.#backOff(topic, from, backoff)
    }
    for (const id of frame.idontwant ?? []) {
      this.#history.decline(from, id)
    }
    if (iwant.length + messages.length + refused.length > 0) {
      this.#parts.send(from, {
        ...(iwant.length > 0 && { iwant }),
        ...(messages.length > 0 && { messages }),
        ...(refused.length > 0 && { prune: refused.map((topic) => this.#prune(topic)) }),
      })
    }
    return news
  }

  /** Keeps the meshes at their degree, tells of recent messages and forgets old ones. */
  heartbeat(): void {
    this.#told.clear()
    this.#asked.clear()
    const now = this.#parts.now()
    /** One frame for each peer, whatever it has to be told of all topics. */
    const frames = new Map<PeerName, GossipFrame>()
    const frame = (peer: PeerName): GossipFrame => {
      const found = frames.get(peer) ?? {}
      frames.set(peer, found)
      return found
    }
    for (const [name, topic] of this.#topics) {
      if (!topic.joined) {
        continue
      }
      for (const [peer, until] of topic.backoff) {
        if (until <= now) {
          topic.backoff.delete(peer)
        }
      }
      const { grafts, prunes } = this.#balance(topic)
      for (const peer of grafts) {
        const to = frame(peer)
        to.graft = [...(to.graft ?? []), name]
      }
      for (const peer of prunes) {
        const to = frame(peer)
        to.prune = [...(to.prune ?? []), this.#prune(name)]
      }
      const ids = this.#history.recent(name).slice(0, MAX_IDS)
      for (const peer of ids.length > 0 ? this.#lazy(topic) : []) {
        const to = frame(peer)
        to.ihave = (to.ihave ?? new Map<string, number[]>()).set(name, ids)
      }
    }
    for (const [peer, filled] of frames) {
      this.#parts.send(peer, filled)
    }
    this.#history.shift(now)
  }

  #topic(name: string): Topic {
    const known = this.#topics.get(name)
    if (known !== undefined) {
      return known
    }
    const fresh: Topic = { joined: false, mesh: new Set(), subscribers: new Set(), backoff: new Map() }
    this.#topics.set(name, fresh)
    return fresh
  }

  /** Up to `count` random subscribers that pass the filter. */
  #pick(topic: Topic, count: number, filter: (peer: PeerName) => boolean): PeerName[] {
    if (count <= 0) {
      return []
    }
    return shuffled([...topic.subscribers].filter(filter), this.#parts.random).slice(0, count)
  }

  #backOff(topic: Topic, peer: PeerName, backoff: number): void {
    topic.backoff.set(peer, this.#parts.now() + backoff)
  }

  #prune(topic: string): { topic: string; backoff: number } {
    return { topic, backoff: this.#parts.parameters.pruneBackoff }
  }

  /** Notes that a peer hears a topic or does not any more; true when it was taken into the mesh at once. */
  #subscription(from: PeerName, name: string, subscribe: boolean): boolean {
    const topic = this.#topic(name)
    if (!subscribe) {
      topic.subscribers.delete(from)
      topic.mesh.delete(from)
      return false
    }
    topic.subscribers.add(from)
    const enough = topic.mesh.size >= this.#parts.parameters.degreeLow
    if (!topic.joined || enough || topic.mesh.has(from) || topic.backoff.has(from)) {
      return false
    }
    topic.mesh.add(from)
    return true
  }

  /** Takes a peer into the mesh at its wish; false when it must be told that it is not. */
  #graft(from: PeerName, name: string): boolean {
    const { degreeHigh, pruneBackoff } = this.#parts.parameters
    const topic = this.#topic(name)
    if (!topic.joined || topic.mesh.has(from)) {
      return true
    }
    const backedOff = (topic.backoff.get(from) ?? 0) > this.#parts.now()
    const full = topic.mesh.size >= degreeHigh && this.#links.get(from) !== true
    if (backedOff || full) {
      this.#backOff(topic, from, pruneBackoff)
      return false
    }
    topic.mesh.add(from)
    return true
  }

  /** Takes in a copy of a message; true when it was new. */
  #message(from: PeerName, { news, hops }: GossipCopy): boolean {
    const { counters, parameters, send } = this.#parts
    if (this.#history.has(news.id)) {
      counters.duplicates++
      return false
    }
    this.#history.see(news.id, this.#parts.now())
    counters.first++
    counters.firstHops += hops
    counters.recovered += this.#history.fulfil(news.id) ? 1 : 0
    const others = [...this.#topic(news.topic).mesh].filter((peer) => peer !== from)
    if (news.data.byteLength >= parameters.declineFrom) {
      for (const peer of others) {
        send(peer, { idontwant: [news.id] })
      }
    }
    const deliver = this.#parts.validate(news, from)
    if (deliver === undefined) {
      return true
    }
    this.#history.keep({ news, hops })
    for (const peer of others) {
      if (!this.#history.declines(peer, news.id)) {
        send(peer, { messages: [{ news, hops: hops + 1 }] })
      }
    }
    deliver()
    return true
  }

  /** Which of the messages that a peer tells of are to be asked for. */
  #wantedOf(from: PeerName, ihave: ReadonlyMap<string, readonly number[]>): number[] {
    if (exhausted(this.#told, from)) {
      return []
    }
    const heard = [...ihave].filter(([name]) => this.#topics.get(name)?.joined === true)
    const unknown = heard.flatMap(([, ids]) => ids.filter((id) => !this.#history.has(id)))
    const wanted = shuffled(unknown, this.#parts.random).slice(0, MAX_IDS)
    for (const id of wanted) {
      this.#history.want(id)
    }
    return wanted
  }

  /** The messages that a peer asks for and can be given. */
  #askedBy(from: PeerName, ids: readonly number[]): GossipCopy[] {
    return exhausted(this.#asked, from) ? [] : ids.flatMap((id) => this.#history.take(from, id) ?? [])
  }

  /** Brings a mesh back between its bounds. */
  #balance(topic: Topic): { grafts: PeerName[]; prunes: PeerName[] } {
    const { degree, degreeLow, degreeHigh, degreeOut, pruneBackoff } = this.#parts.parameters
    const { mesh, backoff } = topic
    const dialled = (peer: PeerName): boolean => this.#links.get(peer) === true
    const free = (peer: PeerName): boolean => !mesh.has(peer) && !backoff.has(peer)
    const grafts = this.#pick(topic, mesh.size < degreeLow ? degree - mesh.size : 0, free)
    for (const peer of grafts) {
      mesh.add(peer)
    }
    const prunes: PeerName[] = []
    if (mesh.size > degreeHigh) {
      const order = shuffled([...mesh], this.#parts.random)
      const ranked = new Set([...order.filter(dialled).slice(0, degreeOut), ...order])
      prunes.push(...[...ranked].slice(degree))
    }
    for (const peer of prunes) {
      mesh.delete(peer)
      this.#backOff(topic, peer, pruneBackoff)
    }
    // A peer that others alone have chosen as neighbour could be surrounded by them.
    const missing = mesh.size < degreeLow ? 0 : degreeOut - [...mesh].filter(dialled).length
    for (const peer of this.#pick(topic, missing, (other) => free(other) && dialled(other))) {
      mesh.add(peer)
      grafts.push(peer)
    }
    return { grafts, prunes }
  }

  /** Peers outside the mesh that are told of recent messages this time. */
  #lazy(topic: Topic): PeerName[] {
    const { degreeLazy, gossipFactor } = this.#parts.parameters
    const candidates = [...topic.subscribers].filter((peer) => !topic.mesh.has(peer))
    const count = Math.max(degreeLazy, Math.floor(gossipFactor * candidates.length))
    return shuffled(candidates, this.#parts.random).slice(0, count)
  }
}

/** Counts one more list of a peer; true when it was one too many. */
function exhausted(lists: Map<PeerName, number>, peer: PeerName): boolean {
  const count = (lists.get(peer) ?? 0) + 1
  lists.set(peer, count)
  return count > MAX_LISTS
}
