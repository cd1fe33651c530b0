/**
 * Membership without a leader: every peer says what it is doing now and then (pace.ts) by signed gossip, and every peer keeps its own view of
 * who was heard lately. Views may differ for a while and nothing may rely on their being equal; strategies compare them where it matters.
 */
import { StarlingError } from '../errors.ts'
import type { GossipMessage, Member, MemberStatus, PeerName, Swarm, Transport, Verdict } from '../ports.ts'
import { RateLimit } from '../rate-limit.ts'
import {
  HEARTBEAT_TOPIC,
  type Heartbeat,
  heartbeatMessage,
  memberStatusSchema,
  readHeartbeat,
  withoutStray,
} from './heartbeat.ts'
import { HEARTBEAT_GAP, intervalFor, Pace, WELCOME } from './pace.ts'
import { type Heard, MemberView } from './view.ts'

export { HEARTBEAT_TOPIC, type Heartbeat, heartbeatMessage, memberStatusSchema } from './heartbeat.ts'
export { intervalFor as heartbeatInterval, silentAfter } from './pace.ts'

/** Options of {@link createSwarm}. */
export interface SwarmOptions {
  /** CID text of the run's manifest. */
  run: string
  /** Number of this process of the peer; must be higher than at every earlier start (see {@link MemberStatus}). */
  incarnation: number
  /** Members remembered, silent ones included. Default 1,024. */
  maxMembers?: number
  /** Told of every member that came, restarted, left or fell silent, before {@link Swarm.onMembers} listeners. */
  onChange?: (change: MemberChange) => void
  /** Told once when another process speaks in this peer's name: the same key is in use somewhere else. */
  onTwin?: () => void
}

/** What happened to a member. */
export interface MemberChange {
  kind: 'joined' | 'restarted' | 'left' | 'silent'
  member: Member
}

/** A swarm that can be started and stopped. */
export interface RunningSwarm extends Swarm {
  /** Subscribes and sends the first heartbeat. Throws StarlingError 'already-started' when called twice. */
  start(): Promise<void>
  /** Says that this peer leaves and unsubscribes. May be called twice. */
  stop(): Promise<void>
  /** What this peer says of itself now. */
  status(): MemberStatus
}

/**
 * Heartbeats per second and at once that are taken from one member when there is no other; twice what an honest one can send. The more there are the
 * fewer are taken, down to a tenth: an honest one may see fewer members than this peer.
 */
const MEMBER_RATE = { rate: 2 * (1000 / HEARTBEAT_GAP), burst: 100 }
const MAX_MEMBER_COST = 10

/** Time between two looks for members that fell silent, ms. */
const WATCH = 500

/** Time for the last heartbeat, with which a peer says that it leaves, ms. */
const LEAVE_TIMEOUT = 500

/** Makes a swarm of a transport. See the head of this file. */
export function createSwarm(transport: Transport, options: SwarmOptions): RunningSwarm {
  return new HeartbeatSwarm(transport, options)
}

class HeartbeatSwarm implements RunningSwarm {
  readonly run: string
  readonly #transport: Transport
  readonly #view: MemberView
  readonly #pace = new Pace()
  readonly #rates: RateLimit
  readonly #random
  readonly #onChange: ((change: MemberChange) => void) | undefined
  /** Undefined once it was told. */
  #onTwin: (() => void) | undefined
  /** Bounded by the parts of this process that listen. */
  readonly #listeners = new Set<() => void>()
  readonly #stopped = new AbortController()
  #status: MemberStatus
  #sequence = 0
  #state: 'new' | 'running' | 'stopped' = 'new'
  #unsubscribe: (() => void) | undefined
  #loop: Promise<unknown> = Promise.resolve()
  #lastSent = Number.NEGATIVE_INFINITY
  /** When the next heartbeat is due; no later than the last one told. */
  #due = Number.NEGATIVE_INFINITY
  /** The interval that the last heartbeat told, ms. */
  #told = intervalFor(0)
  #saidPhase: MemberStatus['phase'] | undefined
  #soon = false
  /** Members as listeners last saw them, so that falling silent is noticed. At most `maxMembers`. */
  #live = new Map<PeerName, Member>()
  /** None of them falls silent before that. */
  #quietUntil = Number.POSITIVE_INFINITY

  constructor(transport: Transport, options: SwarmOptions) {
    const maxMembers = options.maxMembers ?? 1_024
    this.run = options.run
    this.#transport = transport
    this.#view = new MemberView(maxMembers)
    this.#rates = new RateLimit({ ...MEMBER_RATE, keys: maxMembers })
    this.#random = transport.random('membership')
    this.#onChange = options.onChange
    this.#onTwin = options.onTwin
    this.#status = {
      incarnation: options.incarnation,
      phase: 'joining',
      step: 0,
      round: 0,
      bytesSent: 0,
      bytesReceived: 0,
    }
    memberStatusSchema.parse(this.#status)
  }

  async start(): Promise<void> {
    if (this.#state !== 'new') {
      throw new StarlingError('already-started', 'this swarm was started before', {})
    }
    this.#state = 'running'
    // Listen before speaking, or an answer to the first heartbeat is missed.
    this.#unsubscribe = this.#transport.subscribe(HEARTBEAT_TOPIC, {
      validate: (message) => this.#validate(message),
      handle: (message) => this.#handle(message),
    })
    await this.#send()
    this.#loop = this.#beat()
  }

  async stop(): Promise<void> {
    if (this.#state === 'running') {
      this.#state = 'stopped'
      this.#stopped.abort(new StarlingError('aborted', 'the swarm was stopped', {}))
      this.#status = { ...this.#status, phase: 'leaving' }
      const patience = new AbortController()
      const said = this.#send(patience.signal)
      await Promise.race([said, this.#transport.clock.sleep(LEAVE_TIMEOUT, patience.signal).catch(() => undefined)])
      patience.abort()
      this.#unsubscribe?.()
      this.#listeners.clear()
    }
    this.#state = 'stopped'
    await this.#loop
  }

  status(): MemberStatus {
    return { ...this.#status }
  }

  members(): readonly Member[] {
    return this.#view.members(this.#transport.clock.now())
  }

  onMembers(listener: () => void): () => void {
    const entry = (): void => listener()
    this.#listeners.add(entry)
    return () => this.#listeners.delete(entry)
  }

  announce(status: Partial<MemberStatus>, now = false): void {
    const { incarnation: _, ...said } = status
    const merged = withoutStray({ ...this.#status, ...said })
    const checked = memberStatusSchema.safeParse(merged)
    if (!checked.success) {
      const issue = checked.error.issues[0]
      throw new StarlingError('bad-status', `${issue?.path.join('.')}: ${issue?.message}`, { status })
    }
    this.#status = merged
    if (now && this.#state === 'running') {
      void this.#sendSoon()
    }
  }

  async #sendSoon(): Promise<void> {
    if (this.#soon) {
      return
    }
    this.#soon = true
    const wait = this.#lastSent + HEARTBEAT_GAP - this.#transport.clock.now()
    if (wait > 0) {
      await this.#transport.clock.sleep(wait, this.#stopped.signal).catch(() => undefined)
    }
    this.#soon = false
    // What is held back goes out with the next heartbeat; a change of phase never is.
    const urgent = this.#status.phase !== this.#saidPhase
    if (this.#state === 'running' && (urgent || this.#pace.allows(this.#transport.clock.now(), this.#live.size))) {
      await this.#send()
    }
  }

  /** Sends a heartbeat. One that cannot be sent is not an error: the next one says the same and more. */
  async #send(signal: AbortSignal = this.#stopped.signal): Promise<void> {
    const now = this.#transport.clock.now()
    const interval = intervalFor(this.#live.size)
    // A longer interval is told once before it is kept to, or who missed this heartbeat would miss the peer. A tenth of jitter keeps a thousand peers
    // from speaking in one voice.
    this.#due = now + Math.min(interval, this.#told) * (0.9 + 0.1 * this.#random.uniform())
    this.#told = interval
    this.#lastSent = now
    this.#saidPhase = this.#status.phase
    this.#pace.spend(now, this.#live.size)
    this.#sequence++
    const data = heartbeatMessage.encode({ sequence: this.#sequence, interval, status: this.#status })
    await this.#transport.publish(HEARTBEAT_TOPIC, data, signal).catch(() => 0)
  }

  /** Speaks whenever it is time to, and looks for members that fell silent. */
  async #beat(): Promise<void> {
    const { clock } = this.#transport
    while (this.#state === 'running') {
      const pause = Math.min(WATCH, Math.max(0, this.#due - clock.now()))
      await clock.sleep(pause, this.#stopped.signal).catch(() => undefined)
      const now = clock.now()
      if (this.#state === 'running' && now >= this.#due) {
        await this.#send()
      }
      if (this.#state === 'running' && now >= this.#quietUntil) {
        this.#dropSilent()
      }
    }
  }

  #validate(message: GossipMessage): Verdict {
    if (message.from === this.#transport.self) {
      this.#lookForTwin(message.data)
      return { verdict: 'ignore', reason: 'own-message' }
    }
    let heartbeat: Heartbeat
    try {
      heartbeat = readHeartbeat(message.data)
    } catch (error) {
      if (!(error instanceof StarlingError)) {
        throw error
      }
      // Said by a later version, perhaps: its honest forwarders are not to blame.
      return error.data.misfit === true
        ? { verdict: 'ignore', reason: 'unknown-heartbeat' }
        : { verdict: 'reject', reason: 'bad-heartbeat' }
    }
    if (!this.#view.isNew(message.from, heartbeat.status.incarnation, heartbeat.sequence)) {
      return { verdict: 'ignore', reason: 'stale-heartbeat' }
    }
    const cost = Math.min(MAX_MEMBER_COST, Math.max(1, this.#live.size))
    if (!this.#rates.allow(message.from, cost, this.#transport.clock.now())) {
      return { verdict: 'ignore', reason: 'too-many-heartbeats' }
    }
    return { verdict: 'accept' }
  }

  /** A heartbeat in our name that is ahead of all of ours was sent by another process with our key. Older ones are echoes. */
  #lookForTwin(data: Uint8Array): void {
    if (this.#onTwin === undefined) {
      return
    }
    let heartbeat: ReturnType<typeof heartbeatMessage.decode>
    try {
      heartbeat = heartbeatMessage.decode(data)
    } catch {
      // Signed by our key and yet no heartbeat: of another version, and none of our business here.
      return
    }
    const { sequence, status } = heartbeat
    const own = this.#status.incarnation
    if (status.incarnation > own || (status.incarnation === own && sequence > this.#sequence)) {
      const tell = this.#onTwin
      this.#onTwin = undefined
      tell()
    }
  }

  #handle(message: GossipMessage): void {
    if (this.#state !== 'running') {
      return
    }
    const heartbeat = readHeartbeat(message.data)
    const now = this.#transport.clock.now()
    const heard = this.#view.hear(message.from, heartbeat, now)
    this.#quietUntil = Math.min(this.#quietUntil, this.#view.quietUntil)
    if (heard !== 'stale' && heard !== 'full') {
      this.#note(this.#view.get(message.from) as Member, heard)
    }
  }

  /** Takes in what one member said. Only this member is looked at: a heartbeat must not cost more the more members there are. */
  #note(member: Member, heard: Exclude<Heard, 'stale' | 'full'>): void {
    const known = this.#live.has(member.peer)
    if (heard === 'left') {
      this.#live.delete(member.peer)
    } else {
      this.#live.set(member.peer, member)
    }
    if (heard === 'joined' || heard === 'restarted') {
      this.#welcome(member.seenAt)
    }
    if (heard !== 'known' && (heard !== 'left' || known)) {
      this.#onChange?.({ kind: heard, member })
    }
    this.#tell()
  }

  /** Speaks earlier than planned, so that a newcomer soon knows of this peer; everyone at another moment. */
  #welcome(now: number): void {
    if (this.#due > now + WELCOME && this.#pace.allows(now, this.#live.size)) {
      this.#due = now + WELCOME * this.#random.uniform()
    }
  }

  /** Compares with what listeners last saw and tells them who fell silent. */
  #dropSilent(): void {
    const live = new Map(this.members().map((each) => [each.peer, each]))
    this.#quietUntil = this.#view.quietUntil
    const silent = [...this.#live.values()].filter(({ peer }) => !live.has(peer))
    this.#live = live
    for (const member of silent) {
      this.#onChange?.({ kind: 'silent', member })
    }
    if (silent.length > 0) {
      this.#tell()
    }
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) {
      listener()
    }
  }

  // The transport's part of the port, passed on.

  get self(): PeerName {
    return this.#transport.self
  }
  get clock(): Transport['clock'] {
    return this.#transport.clock
  }
  random(purpose: string): ReturnType<Transport['random']> {
    return this.#transport.random(purpose)
  }
  connected(): readonly PeerName[] {
    return this.#transport.connected()
  }
  onConnections(listener: () => void): () => void {
    return this.#transport.onConnections(listener)
  }
  publish(...args: Parameters<Transport['publish']>): Promise<number> {
    return this.#transport.publish(...args)
  }
  subscribe(...args: Parameters<Transport['subscribe']>): () => void {
    return this.#transport.subscribe(...args)
  }
  ask(...args: Parameters<Transport['ask']>): Promise<Uint8Array> {
    return this.#transport.ask(...args)
  }
  answer(...args: Parameters<Transport['answer']>): () => void {
    return this.#transport.answer(...args)
  }
  penalize(peer: PeerName, reason: string): void {
    this.#transport.penalize(peer, reason)
  }
  sign(data: Uint8Array): Promise<Uint8Array> {
    return this.#transport.sign(data)
  }
  verify(...args: Parameters<Transport['verify']>): Promise<boolean> {
    return this.#transport.verify(...args)
  }
}
