/** The shapes that the parts of the daemon, its HTTP API and its page share. Plain data throughout: what is here travels as JSON. */
import type { GenerateOptions } from '../models/index.ts'
import type { PeerName, StrategyEvent } from '../protocols/index.ts'
import type { DhtOptions, LinkKind, Reachability, RelayOptions, Standing } from './network/index.ts'

/** Events of the daemon itself, beside the strategy's. */
export type DaemonEvent =
  | { kind: 'started'; run: string; listen: string[]; engine: string }
  | { kind: 'member-joined'; member: PeerName }
  | { kind: 'member-left'; member: PeerName; reason: 'silent' | 'leaving' }
  | { kind: 'connected'; remote: PeerName }
  | { kind: 'disconnected'; remote: PeerName }
  /** Whether others can dial this node is known now, or has changed. */
  | { kind: 'reachability'; state: Reachability['state']; reason?: string; advice?: string }
  | { kind: 'checkpoint'; step: number; path: string; bytes: number; milliseconds: number }
  | { kind: 'resumed'; step: number; path: string }
  | { kind: 'trainer-crashed'; message: string; restarts: number }
  | { kind: 'trainer-restarted'; step: number }
  | { kind: 'sample'; step: number; prompt: string; text: string }
  | { kind: 'stopping'; reason: string }
  /**
   * The run is over here: the average of the replicas that could be had, its validation loss, and how far apart they were. Where peers share one base
   * there is one replica, and `sha256` of its parameters says whether others have the same.
   */
  | {
      kind: 'final'
      step: number
      path: string
      replicas: number
      deviation: number
      loss: number
      ownLoss: number
      sha256?: string
      /** Where peers held parts of the model: how many stages it was put together from. */
      stages?: number
    }
  /** The run is over here, and this peer holds parts of the model only: the whole is at the peers with data. */
  | { kind: 'final-elsewhere'; step: number }
  // Of a local swarm's launcher, about the process of the peer that the line names.
  | { kind: 'process-died'; how: string; restartIn: number }
  | { kind: 'process-restarted'; restarts: number }

/** One line of the event stream: what happened, where and when. */
export type NodeEvent = (StrategyEvent | DaemonEvent) & {
  /** Number in this node's log, from 1. */
  sequence: number
  /** The peer it happened at: this node, or one whose news came by gossip. */
  peer: PeerName
  /** The other peer that the event names as `peer`, where it does ('rejected', 'waiting'). */
  about?: PeerName
  /** Milliseconds since the epoch, on the clock of the peer it happened at. */
  time: number
}

/** A set of contributions, as who holds it reports it (strategy spsa): two with equal digests are equal. */
export interface SetStatus {
  contributions: number
  authors: number
  digest: string
}

/** The part of a node in a pipeline (strategy pipeline). */
export interface PipelineStatus {
  /** Stages that it holds; 0 stands for the ends, with which a peer sends its data through the others. */
  stages: number[]
  /** As a data peer: who holds each stage, microbatches on their way, those that came back, those begun again, recoveries and the time they took, seconds. */
  flow?: {
    holders: { stage: number; peers: PeerName[] }[]
    inFlight: number
    microbatches: number
    retries: number
    recoveries: number
    stalledSeconds: number
  }
}

/** GET /api/status */
export interface NodeStatus {
  peer: PeerName
  /** Name given with --name, shown beside the id. */
  name: string
  run: string
  runName: string
  /** Share this to let others join. */
  link: string
  version: string
  phase: 'joining' | 'training' | 'finished' | 'stopping'
  strategy: string
  model: { preset: string; parameters: number }
  engine: { name: string; why: string }
  step: number
  steps: number
  round: number
  /** How it lies to the others on purpose, for a demonstration; absent for every real peer. */
  attack?: string
  loss: number | null
  validationLoss: number | null
  /** Where the parameters stand for a set of contributions. */
  set?: SetStatus
  /** Where each peer holds a part of the model. */
  pipeline?: PipelineStatus
  members: number
  connections: number
  /** What it refused of others since the start, by reason; absent when there was nothing. */
  refused?: Record<string, number>
  listen: string[]
  /** Whether others can dial it; absent where nobody looks. */
  reachability?: Reachability
  bytesSent: number
  bytesReceived: number
  /** Delay of the network thread's event loop since the start, milliseconds. */
  eventLoop: { p50: number; p99: number; max: number }
  memory: { rss: number }
  uptimeSeconds: number
  pid: number
  dataFolder: string
}

/** What a node does or waits for now. */
export type ExplainState =
  | 'starting' // engine, data and parameters are loaded
  | 'looking-for-peers' // nobody has given it the run's manifest
  | 'fetching' // bytes from another peer
  | 'waiting-for-holder' // nobody in view has what it needs
  | 'waiting-for-partner' // of an exchange
  | 'waiting-for-stage' // of a pipeline
  | 'waiting-for-contributions' // its own, that it has forgotten
  | 'waiting-for-others' // at the end of the run
  | 'waiting' // for something else, which is named
  | 'alone' // training, and nobody else is in view
  | 'standing-out' // training; the last exchange did not happen
  | 'spare' // of a pipeline: holds no stage
  | 'training'
  | 'stalled' // no step was finished for long
  | 'trainer-restarting'
  | 'finished'
  | 'stopping'

/** The answer to "why am I waiting?". */
export interface Explanation {
  state: ExplainState
  /** Whether all is well, as usual, or something is to be looked at. */
  tone: 'good' | 'plain' | 'warn'
  /** One sentence or two. */
  because: string
  /** Since when, milliseconds since the epoch on this node's clock. */
  since: number
  /** What comes next by itself. */
  next?: string
  /** What people can do about it, at most a few lines. */
  advice: string[]
  /** The other peer that it is about. */
  about?: PeerName
}

/** GET /api/explain: one for a node, one for each peer of a local swarm. */
export interface Explained extends Explanation {
  /** The peer itself; empty while it has not read its key. */
  peer: PeerName
  name: string
}

/** GET /api/peers: everyone in the run that this node knows, itself first. */
export interface PeerStatus {
  peer: PeerName
  /** What people call it, where that is known. */
  name?: string
  /** How it lies on purpose, where that is known: peers of a local swarm only. */
  attack?: string
  self: boolean
  connected: boolean
  /** How this node is connected with it: the best of its connections. */
  connection?: { via: LinkKind; address: string }
  /** Milliseconds since its last heartbeat; 0 for this node. */
  silentFor: number
  phase: string
  step: number
  round: number
  loss: number | null
  validationLoss: number | null
  /** The set of contributions that it told of last. */
  set?: SetStatus
  bytesSent: number
  bytesReceived: number
  /** What it has done for this node and what is held against it; absent for this node itself. */
  standing?: Standing
  addresses: string[]
}

/** How to start one node. */
export interface NodeOptions {
  /** Folder of the identity, records and checkpoints; locked while the node runs. */
  dataFolder: string
  /** The run: a manifest file's bytes for its first node, or a run link to join. Neither when the folder already holds a run. */
  manifest?: Uint8Array
  link?: string
  name?: string
  /** Multiaddrs to listen on, e.g. /ip4/0.0.0.0/tcp/0 */
  listen: string[]
  /** Multiaddrs to tell others beside those listened on. */
  announce: string[]
  /** Multiaddrs to dial at the start and to go back to. */
  bootstrap: string[]
  mdns: boolean
  /** Name of the network that it is on: links carry it. */
  network?: string
  /** A DHT in which it looks for peers of the run. */
  dht?: DhtOptions
  /** Key of a run whose admission is pre-shared-key. */
  preSharedKey?: Uint8Array
  /** Being reached through relays, and being one. Default: neither. */
  relay?: RelayOptions
  /** Ask the router for a port. Default false. */
  upnp?: boolean
  /** Connect straight with peers behind relays, with the help of these STUN servers. Default: not. */
  webrtc?: { stun: string[] }
  /** Continue from the newest valid checkpoint in the data folder, if there is one. */
  resume: boolean
  /** Where the HTTP API and the page listen; port 0 picks a free one. */
  api: { host: string; port: number; token?: string }
  /** Threads for TensorFlow. */
  threads: number
  engine?: 'native' | 'wasm' | 'js'
  /** Lie to the others in this way (protocols/attacks): for demonstrations. */
  attack?: string
  /** Overrides of what the manifest leaves to each peer. */
  local: { dataPath?: string; weightsPath?: string }
}

/** A node that runs. */
export interface RunningNode {
  readonly peer: PeerName
  status(): NodeStatus
  peers(): PeerStatus[]
  /** Events with a sequence number above `after` that are still kept (at most 5,000). */
  events(after?: number): NodeEvent[]
  /** What it does or waits for now, and why. Works from the first moment of a start. */
  explain(): Explained[]
  onEvent(listener: (event: NodeEvent) => void): () => void
  /** URL of the page. */
  readonly page: string
  /** The Prometheus text of GET /metrics. */
  metrics(): Promise<{ contentType: string; text: string }>
  /** Resolves when the run's steps are done on this node, rejects when the node failed. */
  readonly finished: Promise<void>
  /** Text from the current parameters. */
  generate(options: GenerateOptions): Promise<string>
  /** Clean stop with a checkpoint; the second call waits for the first. */
  stop(reason: string): Promise<void>
}
