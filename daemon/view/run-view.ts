/** A run as it can be drawn, folded from the typed event stream. Runs in the browser and in the tests: nothing of the machine in here. */
import type { NodeEvent, NodeStatus, PeerStatus, SetStatus } from '../types.ts'
import { Curve } from './curve.ts'
import { PipelineView } from './pipeline-view.ts'
import { whyRefused } from './words.ts'

/** What is known of one peer. */
export interface PeerView {
  peer: string
  /** Place in the order of first appearance; its colour. */
  index: number
  /** Training loss, mean of about a second of steps, smoothed. */
  train: Curve
  validation: Curve
  /** Against the round. */
  disagreement: Curve
  /** Size of its set of contributions, where the run has such; against time. */
  contributions: Curve
  /** Microbatches a second that it sent through a pipeline as a data peer; against time. */
  flow: Curve
  /** The set that it told of last. */
  set?: SetStatus
  /** Last of what it said of itself. */
  status?: PeerStatus
  lastEvent?: { kind: NodeEvent['kind']; time: number }
  partner?: { peer: string; round: number; time: number }
  down: boolean
}

/** One exchange between two peers; both sides report it, it is kept once. */
export interface Exchange {
  round: number
  a: string
  b: string
  time: number
}

export interface TimelineEntry {
  event: NodeEvent
  /** Colour: ordinary, good news, warning. */
  tone: 'plain' | 'good' | 'warn'
}

/** Peers drawn; one more than that is counted, not drawn. */
const MAX_PEERS = 64

/** Lines kept in the timeline and exchanges kept for the ring. */
const TIMELINE = 300
const EXCHANGES = 128

/** Share of a new point in the smoothed training loss. */
const SMOOTHING = 0.25

const TONES: Partial<Record<NodeEvent['kind'], TimelineEntry['tone']>> = {
  started: 'good',
  'member-joined': 'good',
  'member-left': 'warn',
  connected: 'plain',
  disconnected: 'warn',
  reachability: 'plain',
  checkpoint: 'plain',
  resumed: 'good',
  'trainer-crashed': 'warn',
  'trainer-restarted': 'good',
  sample: 'plain',
  stopping: 'warn',
  'process-died': 'warn',
  'process-restarted': 'good',
  'exchange-skipped': 'plain',
  joined: 'good',
  waiting: 'plain',
  finished: 'good',
  final: 'good',
  'final-elsewhere': 'plain',
  rejected: 'warn',
  excluded: 'warn',
  plan: 'plain',
  'stage-taken': 'good',
  'stage-left': 'plain',
  'stage-lost': 'warn',
  'stage-recovered': 'good',
  'plan-agreed': 'plain',
}

export class RunView {
  /** By peer id, at most {@link MAX_PEERS}. */
  readonly peers = new Map<string, PeerView>()
  /** Newest last. */
  readonly timeline: TimelineEntry[] = []
  readonly exchanges: Exchange[] = []
  /** Newest last, at most 12. */
  readonly samples: Extract<NodeEvent, { kind: 'sample' }>[] = []
  /** Sides of exchanges that happened, and bytes they sent. */
  exchangesDone = 0
  exchangeBytes = 0
  /** Counts by reason; the reasons come from enums. */
  readonly skipped = new Map<string, number>()
  readonly rejected = new Map<string, number>()
  /** Fragments that others left out of their mixing, by author. */
  readonly leftOut = new Map<string, number>()
  /** Pairs with an open connection, as "a|b" with a < b. */
  readonly links = new Set<string>()
  /** Stages and who holds them, where the run has such. */
  readonly pipeline = new PipelineView()
  status: NodeStatus | undefined
  /** Time of the first event, milliseconds since the epoch. */
  start = Number.POSITIVE_INFINITY
  /** Grows with every change; a drawing of an older version is stale. */
  version = 0
  /** Grows with every new line in the timeline. */
  timelineVersion = 0

  /** The newest disagreement over all peers: mean of each peer's last. */
  get disagreement(): number | undefined {
    const last = [...this.peers.values()].map((peer) => peer.disagreement.last).filter((value) => value !== undefined)
    return last.length === 0 ? undefined : last.reduce((sum, value) => sum + value, 0) / last.length
  }

  /** Whether the parameters of this run stand for sets of contributions. */
  get holdsSets(): boolean {
    return [...this.peers.values()].some(({ set }) => set !== undefined)
  }

  /** Peers whose last word was of the same set as this one's, itself included; 0 while it told of none. */
  holdersOf(set: SetStatus | undefined): number {
    if (set === undefined) return 0
    return [...this.peers.values()].filter((peer) => peer.set?.digest === set.digest).length
  }

  /** What the node says of itself and of those it knows. */
  observe(status: NodeStatus, peers: readonly PeerStatus[]): void {
    this.version += 1
    this.status = status
    const self = peers.find((peer) => peer.self)?.peer
    for (const row of peers) {
      const view = this.peer(row.peer)
      if (view === undefined) continue
      view.status = row
      if (row.set !== undefined && view.set === undefined) view.set = row.set
      if (row.silentFor < 5_000 && row.phase !== 'gone') view.down = false
      if (self !== undefined && row.peer !== self && !row.connected) this.links.delete(pairOf(self, row.peer))
      if (self !== undefined && row.peer !== self && row.connected) this.links.add(pairOf(self, row.peer))
    }
  }

  /** Folds one event in. */
  apply(event: NodeEvent): void {
    this.version += 1
    this.start = Math.min(this.start, event.time)
    const view = this.peer(event.peer)
    if (view === undefined) return
    view.lastEvent = { kind: event.kind, time: event.time }
    this.fold(event, view)
    const tone = TONES[event.kind]
    if (tone === undefined) return
    this.timeline.push({ event, tone })
    if (this.timeline.length > TIMELINE) this.timeline.splice(0, this.timeline.length - TIMELINE)
    this.timelineVersion += 1
  }

  private fold(event: NodeEvent, view: PeerView): void {
    this.pipeline.apply(event)
    switch (event.kind) {
      case 'step': {
        const last = view.train.last
        view.train.add(event.step, event.time, last === undefined ? event.loss : last + SMOOTHING * (event.loss - last))
        return
      }
      case 'evaluation':
        view.validation.add(event.step, event.time, event.loss)
        return
      case 'contributions':
        view.set = event
        view.contributions.add(event.contributions, event.time, event.contributions)
        return
      case 'pipeline':
        view.flow.add(event.time, event.time, this.pipeline.flows.get(event.peer)?.perSecond ?? Number.NaN)
        return
      case 'exchange':
        this.exchange(event, view)
        return
      case 'mixed':
        view.disagreement.add(event.round, event.time, event.disagreement)
        this.exchangesDone += event.fragments
        this.exchangeBytes += event.bytesSent
        for (const { peer, times } of event.leftOut) count(this.leftOut, peer, times)
        return
      case 'exchange-skipped':
        count(this.skipped, event.reason)
        return
      case 'rejected':
        count(this.rejected, `${event.what}: ${whyRefused(event.reason)}`)
        return
      case 'sample':
        this.samples.push(event)
        if (this.samples.length > 12) this.samples.shift()
        return
      case 'connected':
        this.links.add(pairOf(event.peer, event.remote))
        return
      case 'disconnected':
        this.links.delete(pairOf(event.peer, event.remote))
        return
      case 'member-left':
        this.setDown(event.member, true)
        return
      case 'member-joined':
        this.setDown(event.member, false)
        return
      case 'process-died':
        view.down = true
        for (const link of this.links) if (link.split('|').includes(event.peer)) this.links.delete(link)
        return
      case 'process-restarted':
      case 'joined':
      case 'resumed':
        view.down = false
        return
    }
  }

  private exchange(event: Extract<NodeEvent, { kind: 'exchange' }>, view: PeerView): void {
    view.disagreement.add(event.round, event.time, event.disagreement)
    view.partner = { peer: event.partner, round: event.round, time: event.time }
    this.exchangesDone += 1
    this.exchangeBytes += event.bytesSent
    const [a, b] = [event.peer, event.partner].sort() as [string, string]
    if (this.exchanges.some((known) => known.round === event.round && known.a === a && known.b === b)) return
    this.exchanges.push({ round: event.round, a, b, time: event.time })
    if (this.exchanges.length > EXCHANGES) this.exchanges.shift()
  }

  private setDown(peer: string, down: boolean): void {
    const view = this.peer(peer)
    if (view !== undefined) view.down = down
  }

  private peer(peer: string): PeerView | undefined {
    const known = this.peers.get(peer)
    if (known !== undefined || this.peers.size >= MAX_PEERS) return known
    const index = this.peers.size
    const view: PeerView = {
      peer,
      index,
      train: new Curve(),
      validation: new Curve(600),
      disagreement: new Curve(600),
      contributions: new Curve(600),
      flow: new Curve(600),
      down: false,
    }
    this.peers.set(peer, view)
    return view
  }
}

function pairOf(a: string, b: string): string {
  return a < b ? `${a}|${b}` : `${b}|${a}`
}

/** Reasons counted apart; a peer that invents new ones is counted under 'other'. */
const MAX_REASONS = 32

function count(counts: Map<string, number>, reason: string, times = 1): void {
  const key = counts.has(reason) || counts.size < MAX_REASONS ? reason : 'other'
  counts.set(key, (counts.get(key) ?? 0) + times)
}
