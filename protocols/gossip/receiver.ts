/** The receiving side: what comes in the topic is checked, bounded and put into the inbox, pulled first where it was only announced. */
import { StarlingError } from '../errors.ts'
import type { GossipMessage, PeerName, Verdict } from '../ports.ts'
import { shuffled } from '../random.ts'
import { RateLimit } from '../rate-limit.ts'
import type { StrategyModules } from '../strategy.ts'
import type { BlobReference } from '../transfer/index.ts'
import { type Entry, Inbox } from './inbox.ts'
import { FRAGMENTS_TOPIC, type FragmentMessage, fragmentMessage } from './messages.ts'
import type { FragmentOrder, FragmentPlan } from './plan.ts'
import { inTime } from './pull.ts'
import { inboxSlots, strideOf } from './tasks.ts'

/** Messages per second and at once that are taken from one author; honest ones send at most half of that (see MIN_GAP in strategy.ts). */
export const AUTHOR_RATE = { rate: 100, burst: 200, keys: 1_024 }

/** Turns after our own in which fragments are kept; whoever is further ahead is not heard. */
const AHEAD = 6

/** Turns after its own in which a group is still open. */
export const OPEN_TURNS = 2

/** Pulls under way at once, one for each author, and authors that wait for theirs. */
const MAX_PULLS = 4
const MAX_WAITING = 64

/** Others that are asked for a fragment whose author does not give it. */
const OTHER_HOLDERS = 3

/** A peer whose announced fragment could not be had is not pulled from for so long, ms. */
const PULL_BACKOFF = 30_000

/** Time for which a pulled fragment is offered to others, ms; it ends when the fragment has been mixed. */
const OFFER_TTL = 60_000

/** Peers whose turns and failures are remembered; the one heard longest ago is forgotten. */
const MAX_PEERS = 1_024

/** What the receiver needs of the strategy. */
export interface ReceiverModules extends Pick<StrategyModules, 'swarm' | 'learner' | 'blobs' | 'training'> {
  plan: FragmentPlan
  order: FragmentOrder
  /** The turn that this peer is in; undefined while it has no replica to mix into. */
  turn(): number | undefined
  /** A fragment of that turn is whole. */
  onFragment(turn: number): void
  onRejected(peer: PeerName, reason: string): void
}

type Announcement = Extract<FragmentMessage, { root: string }> & { peer: PeerName }

export class Receiver {
  readonly #modules: ReceiverModules
  readonly #inbox: Inbox
  readonly #stride: number
  readonly #bytes: Uint8Array
  readonly #rates = new RateLimit(AUTHOR_RATE)
  readonly #random
  /** What bytes that were accepted say, until they are handled. */
  readonly #accepted = new WeakMap<Uint8Array, FragmentMessage>()
  /** Latest turn of each author; at most {@link MAX_PEERS}. */
  readonly #heard = new Map<PeerName, number>()
  /** Groups already mixed; at most those of the turns that are open. */
  readonly #mixed = new Set<number>()
  /** Authors that are being pulled from; at most {@link MAX_PULLS}. */
  readonly #pulling = new Set<PeerName>()
  /** Announcements that wait, the newest of each author; at most {@link MAX_WAITING}, the oldest is dropped. */
  readonly #waiting = new Map<PeerName, Announcement>()
  /** Until when authors are not pulled from; at most {@link MAX_PEERS}. */
  readonly #failed = new Map<PeerName, number>()
  readonly #stopped = new AbortController()
  #unsubscribe: (() => void) | undefined
  /** Bytes of fragments that came. */
  received = 0

  constructor(modules: ReceiverModules) {
    const { learner, plan, swarm } = modules
    this.#modules = modules
    this.#stride = strideOf(plan.largest)
    this.#bytes = learner.bytes('gossip-inbox')
    this.#inbox = new Inbox(inboxSlots(plan.largest), swarm.random('gossip-inbox'))
    this.#random = swarm.random('gossip-holders')
  }

  start(): void {
    this.#unsubscribe = this.#modules.swarm.subscribe(FRAGMENTS_TOPIC, {
      validate: (message) => this.#validate(message),
      handle: (message) => this.#handle(message),
    })
  }

  /** Gives up pulls under way and what was not mixed. May be called twice. */
  stop(): void {
    this.#unsubscribe?.()
    this.#unsubscribe = undefined
    this.#stopped.abort(new StarlingError('aborted', 'the receiver was stopped', {}))
    this.#waiting.clear()
    for (const turn of this.#inbox.turns()) {
      this.#inbox.release(this.#inbox.take(turn).all)
    }
  }

  get heard(): ReadonlyMap<PeerName, number> {
    return this.#heard
  }

  /** Turns with a group, oldest first. */
  turns(): number[] {
    return this.#inbox.turns()
  }

  /** Whole fragments of that turn. */
  ready(turn: number): number {
    return this.#inbox.ready(turn)
  }

  /** Closes a group and hands out its whole fragments; what was still being pulled is given up. {@link Receiver.release} them in the end. */
  take(turn: number): Entry[] {
    const { all, whole } = this.#inbox.take(turn)
    this.#inbox.release(all.filter(({ ready }) => !ready))
    this.#mixed.add(turn)
    const own = this.#modules.turn() ?? turn
    for (const each of this.#mixed) {
      if (each <= own - OPEN_TURNS) {
        this.#mixed.delete(each)
      }
    }
    return whole
  }

  release(entries: readonly Entry[]): void {
    this.#inbox.release(entries)
  }

  #validate({ from, data }: GossipMessage): Verdict {
    const { swarm, training, order } = this.#modules
    if (from === swarm.self) {
      return { verdict: 'ignore', reason: 'own-message' }
    }
    if (!this.#rates.allow(from, 1, swarm.clock.now())) {
      return { verdict: 'ignore', reason: 'too-many-fragments' }
    }
    let message: FragmentMessage
    try {
      message = fragmentMessage.decode(data)
    } catch (error) {
      if (!(error instanceof StarlingError)) {
        throw error
      }
      return error.data.misfit === true
        ? { verdict: 'ignore', reason: 'unknown-fragment' }
        : { verdict: 'reject', reason: 'bad-fragment' }
    }
    const { bytes, inline } = order.at(message.turn)
    const size = 'bytes' in message ? message.bytes.byteLength : message.size
    if (size !== bytes || inline !== 'bytes' in message) {
      return { verdict: 'reject', reason: 'fragment-size' }
    }
    if (message.step > training.steps) {
      return { verdict: 'reject', reason: 'beyond-steps' }
    }
    this.#accepted.set(data, message)
    return { verdict: 'accept' }
  }

  #handle({ from, data }: GossipMessage): void {
    const message = this.#accepted.get(data) ?? fragmentMessage.decode(data)
    const own = this.#modules.turn()
    const known = this.#modules.swarm.members().some(({ peer }) => peer === from)
    if (own === undefined || !known || this.#stopped.signal.aborted) {
      return
    }
    this.#heard.delete(from)
    this.#heard.set(from, message.turn)
    keepNewest(this.#heard, MAX_PEERS)
    if (!this.#isOpen(message.turn, own)) {
      return
    }
    if (!('bytes' in message)) {
      this.#waiting.delete(from)
      this.#waiting.set(from, { ...message, peer: from })
      keepNewest(this.#waiting, MAX_WAITING)
      this.#pullNext()
      return
    }
    const entry = this.#inbox.claim(message.turn, from)
    if (entry !== undefined) {
      this.#bytes.set(message.bytes, entry.slot * this.#stride)
      this.#whole(entry, message.bytes.byteLength)
    }
  }

  #isOpen(turn: number, own: number): boolean {
    return turn > own - OPEN_TURNS && turn <= own + AHEAD && !this.#mixed.has(turn)
  }

  #whole(entry: Entry, bytes: number): void {
    entry.ready = true
    this.received += bytes
    this.#modules.onFragment(entry.turn)
  }

  /** Begins as many of the pulls that wait as there is room for. */
  #pullNext(): void {
    const { swarm, turn } = this.#modules
    for (const [peer, announcement] of this.#waiting) {
      if (this.#pulling.size >= MAX_PULLS) {
        return
      }
      if (this.#pulling.has(peer)) {
        continue
      }
      this.#waiting.delete(peer)
      const own = turn()
      const refused = (this.#failed.get(peer) ?? Number.NEGATIVE_INFINITY) > swarm.clock.now()
      if (own === undefined || refused || !this.#isOpen(announcement.turn, own)) {
        continue
      }
      const entry = this.#inbox.claim(announcement.turn, peer)
      if (entry !== undefined) {
        this.#pulling.add(peer)
        void this.#pull(announcement, entry)
      }
    }
  }

  async #pull({ peer, root, size }: Announcement, entry: Entry): Promise<void> {
    const { swarm, blobs, onRejected } = this.#modules
    const { clock } = swarm
    const into = this.#bytes.subarray(entry.slot * this.#stride, entry.slot * this.#stride + size)
    const ended = new AbortController()
    const end = (): void => ended.abort()
    this.#stopped.signal.addEventListener('abort', end, { once: true })
    let settle: () => void = () => {}
    const settled = new Promise<void>((resolve) => {
      settle = resolve
    })
    entry.end = () => {
      end()
      return settled
    }
    try {
      const holders = [peer, ...this.#others(peer)]
      await inTime(clock, size, ended.signal, (signal) => blobs.pull(holders, { root, size }, into, { signal }))
      // Given up meanwhile: the slot belongs to somebody else by now.
      if (!ended.signal.aborted) {
        this.#offer(entry, { root, size }, into)
        this.#whole(entry, size)
      }
    } catch (error) {
      if (!(error instanceof StarlingError)) {
        throw error
      }
      if (error.code !== 'aborted') {
        this.#failed.delete(peer)
        this.#failed.set(peer, clock.now() + PULL_BACKOFF)
        keepNewest(this.#failed, MAX_PEERS)
        onRejected(peer, `its fragment could not be had: ${error.code}`)
      }
      this.#inbox.drop(entry)
    } finally {
      ended.abort()
      this.#stopped.signal.removeEventListener('abort', end)
      settle()
      this.#pulling.delete(peer)
      this.#pullNext()
    }
  }

  /** Some others that may have pulled it before us; those that have not say so at once. */
  #others(author: PeerName): PeerName[] {
    const { swarm } = this.#modules
    const members = swarm.members().flatMap(({ peer, status }) => (status.phase === 'training' ? [peer] : []))
    return shuffled(
      members.filter((peer) => peer !== author),
      this.#random,
    ).slice(0, OTHER_HOLDERS)
  }

  /** Gives to others what was pulled, until its slot is needed again. */
  #offer(entry: Entry, { root }: BlobReference, bytes: Uint8Array): void {
    const { blobs } = this.#modules
    const offered = blobs.offer(bytes, { ttl: OFFER_TTL }).then(
      () => true,
      () => false,
    )
    entry.end = async () => {
      // The bytes may not change while they are hashed: what is offered under a root must be it.
      if (await offered) {
        blobs.withdraw(root, bytes)
      }
    }
  }
}

/** Forgets the entries that were set longest ago. */
function keepNewest<K, V>(map: Map<K, V>, most: number): void {
  while (map.size > most) {
    map.delete(map.keys().next().value as K)
  }
}
