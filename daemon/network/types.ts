/** What the network is made from, what it reports and what it counts. Plain data but for the narrow interfaces. */
import type { PrivateKey } from '@libp2p/interface'
import type { PeerName, Transport } from '../../protocols/index.ts'
import type { DhtCounts, DhtOptions } from './discovery/index.ts'
import type { PlaceLimits } from './places.ts'
import type { RelayLoad, RelayOptions } from './reachability/index.ts'

export type { RelayLimits, RelayLoad, RelayOptions } from './reachability/index.ts'

/** The log the network writes to; a pino logger fits. */
export interface NetworkLog {
  debug(data: Record<string, unknown>, message: string): void
  info(data: Record<string, unknown>, message: string): void
  warn(data: Record<string, unknown>, message: string): void
}

/** A peer that is refused until `until`, milliseconds since the epoch. */
export interface Ban {
  peer: PeerName
  until: number
  reason: string
}

/** Keeps bans across restarts. At most {@link MAX_BANS} are handed over. */
export interface BanStore {
  load(): Promise<Ban[]>
  save(bans: readonly Ban[]): Promise<void>
}

/** Who may connect. */
export type Admission = { kind: 'open' } | { kind: 'allow-list'; peers: readonly PeerName[] }

/** Options of `createNetwork`. */
export interface NetworkOptions {
  /** Key of this peer, from `loadOrCreateIdentity`. */
  identity: PrivateKey
  /** Name of the run: the CID text of its manifest. Peers of another run are disconnected. */
  run: string
  /** Every short topic name that this run uses; others are refused in both directions. */
  topics: readonly string[]
  /** Multiaddrs to listen on, e.g. /ip4/127.0.0.1/tcp/0. */
  listen: readonly string[]
  /** Multiaddrs to tell others beside those listened on. */
  announce?: readonly string[]
  /** Multiaddrs, with /p2p/ or without, dialled at the start and for ever after. */
  bootstrap?: readonly string[]
  /** Find peers of the run in a DHT. Default: none. */
  dht?: DhtOptions
  /** Key that all peers of the run were given: each must prove that it has it. Default: none is asked for. */
  preSharedKey?: Uint8Array
  /** Relays: being one, using others'. Default: neither. */
  relay?: RelayOptions
  /** Let libp2p's AutoNAT (both versions) ask peers whether this node's addresses can be dialled, and answer others. Default false. */
  autonat?: boolean
  /** Ask the router to forward a port: UPnP, NAT-PMP. Default false. */
  upnp?: boolean
  /** WebRTC with peers behind relays; STUN servers as stun:host:port, none are asked by default. Default: no WebRTC. */
  webrtc?: { stun: readonly string[] }
  /** Look for peers on the local network. Default false. */
  mdns?: boolean
  /** Default: open. */
  admission?: Admission
  /** Connections the peer manager dials up to. Default 12: a swarm up to that size is fully connected; questions to others dial them. */
  targetPeers?: number
  /** Connections above which the peer manager prunes; half-way from the target to here it lets go of those not used for a minute. Default 48. */
  maxPeers?: number
  /** Dial addresses of this machine and of private networks when strangers name them. Default: only if this node listens on such an address. */
  dialPrivate?: boolean
  bans?: BanStore
  log?: NetworkLog
  /** Seeds `random` in place of (run, self); for tests. */
  seed?: string
  /** How often the peer manager looks for something to do, milliseconds. Default 1,000. */
  heartbeatMilliseconds?: number
  /** How often, in the mean, a peer with enough connections dials one more of those it knows, milliseconds. Default 60,000. */
  exploreMilliseconds?: number
  /** How often libp2p checks that a connection is alive, milliseconds. Default 10,000. */
  pingMilliseconds?: number
  /** Units of work per second that a peer may ask for, and all peers together. Default {@link DEFAULT_RATES}. */
  rates?: Partial<Rates>
  /** Connections from each address and in all. Default: see `placeLimits`. */
  limits?: Partial<PlaceLimits>
}

/** Units of work per second and how many may come at once, per peer and in total. A question is one, and one more for each 256 KiB that it may carry in both directions; a hello is 20. */
export interface Rates {
  perPeer: number
  perPeerBurst: number
  total: number
  totalBurst: number
}

/** Plenty for a bulk pull at gigabits (1 MiB a question, 5 units), little enough that small questions cannot keep a core busy. */
export const DEFAULT_RATES: Rates = { perPeer: 1_000, perPeerBurst: 2_000, total: 4_000, totalBurst: 8_000 }

/** Bans kept at most; the one that ends first is dropped for a new one. */
export const MAX_BANS = 1_024

/** Why a peer was refused, dropped or held something against. */
export type RejectReason =
  | 'banned'
  | 'not-admitted'
  | 'other-run'
  | 'no-protocol' // it does not speak Starling's protocols
  | 'other-version' // it speaks another version of them
  | 'malformed-frame'
  | 'too-large'
  | 'too-many-questions'
  | 'too-slow'
  | 'rate-limit'
  | 'invalid-message' // gossip refused by its validator
  | 'fault' // proven by a protocol above, see `penalize`
  | 'gossip-score' // the gossip router has ignored it for a while
  | 'address-limit' // too many connections from its address
  | 'connection-rate' // new connections from its address too often
  | 'no-room' // all places for strangers are taken

/** What a peer has done for us and what is held against it. */
export interface Standing {
  /** Credit less points, -100 to 20. */
  score: number
  /** For answers to questions of ours; halves every hour, ended by a proven fault. */
  credit: number
  /** For what was refused; halves every ten minutes. From 20 on disconnected, from 45 on banned. */
  points: number
  /** Refusals by reason, as long as the peer is remembered. */
  refused: Partial<Record<RejectReason, number>>
}

export type NetworkEvent =
  | { kind: 'connected'; peer: PeerName; address: string; direction: 'inbound' | 'outbound' }
  | { kind: 'disconnected'; peer: PeerName }
  | { kind: 'addresses'; addresses: string[] }
  | { kind: 'reachability'; reachability: Reachability }
  | { kind: 'rejected'; peer: PeerName; reason: RejectReason; detail: string }
  | { kind: 'banned'; peer: PeerName; until: number; detail: string }

/** Bytes in both directions. */
export interface ByteCount {
  sent: number
  received: number
}

/** Everything counted since the start. */
export interface NetworkCounters {
  /** Bytes on the sockets: encryption, multiplexing and copies of gossip included. */
  wire: ByteCount
  /** Frames of the ask protocol by method, payload and header. Strangers' methods count under 'unknown'. */
  ask: Record<string, ByteCount>
  /** Questions of this peer by method, and the time until they were answered or given up, milliseconds in all. */
  asked: Record<string, { questions: number; milliseconds: number }>
  /** Payloads by topic: sent counts each recipient this peer published to, received each message accepted. */
  gossip: Record<string, ByteCount>
  /** Bytes inside the streams, by protocol id; the router's control messages and forwarding are in here. */
  protocols: Record<string, ByteCount>
  /** Bytes of connections through relays, other nodes' and this one's own: what it carries for others counts once as received and once as sent. */
  relayed: ByteCount
  /** What this node does as a relay, if it is one. */
  relay?: RelayLoad
  /** Rejections by reason. */
  rejected: Partial<Record<RejectReason, number>>
  /** What came of looking for peers in the DHT, if there is one. */
  dht?: DhtCounts
  /** Open connections, and dials since the start. */
  connections: number
  dials: number
  dialFailures: number
}

/** Whether others can dial this node. */
export interface Reachability {
  /** `local`: it listens on this machine only; `unknown`: nobody has tried yet. */
  state: 'reachable' | 'private' | 'unknown' | 'local'
  /** Where others reach it, relayed addresses included. */
  addresses: string[]
  /** Peer ids of the relays that hold a place for it. */
  relays: string[]
  /** Why it is private or unknown, in words that follow "because". */
  reason?: string
  /** What people can do about it, in one sentence. */
  advice?: string
}

/** How bytes go over a connection: straight over TCP, over a WebSocket or WebRTC, or through another node that relays them. */
export type LinkKind = 'direct' | 'websocket' | 'webrtc' | 'relay'

/** One open connection. */
export interface Link {
  peer: PeerName
  direction: 'inbound' | 'outbound'
  kind: LinkKind
  address: string
}

/** What became of an address that this node goes back to for ever. */
export interface BootstrapStatus {
  address: string
  /** Who answered there last, or whom the address names. */
  peer?: PeerName
  /** There is a connection with that peer, at whatever address. */
  connected: boolean
  /** It is a bootstrap node, connected now, and no peer of the run. */
  service?: true
  /** Code of what the hello with it failed with, e.g. 'not-admitted', 'other-version' or 'other-run'. */
  refusal?: string
  /** Dials in vain in a row. */
  failures: number
  /** Why the last one failed. */
  error?: string
}

/** A transport over libp2p. Subscribing and answering may happen before `start`. */
export interface Network extends Transport {
  /** Listens, starts the gossip router and the peer manager. Rejects with 'listen-failed' when no address can be listened on. */
  start(signal?: AbortSignal): Promise<void>
  /** Closes everything in reverse order; the second call waits for the first. */
  stop(): Promise<void>
  /** Multiaddrs by which others reach this node, each ending in /p2p/<self>. */
  addresses(): string[]
  /** Whether others can dial this node, as far as it knows; an event tells of changes. */
  reachability(): Reachability
  /** Multiaddrs known of a peer, connected ones first. */
  addressesOf(peer: PeerName): string[]
  /** Adds addresses to go back to for ever, e.g. those of a run link. */
  addBootstrap(addresses: readonly string[]): void
  /** Dials a multiaddr now. Throws 'peer-unreachable', 'other-run' or 'bad-address'. */
  dial(address: string, signal?: AbortSignal): Promise<PeerName>
  disconnect(peer: PeerName): Promise<void>
  onEvent(listener: (event: NetworkEvent) => void): () => void
  counters(): NetworkCounters
  /** Open connections, those of strangers that have not introduced themselves yet included; a peer may have two, a direct one beside a relayed one counts once it has answered. */
  links(): Link[]
  /** Addresses that are gone back to, and whether anybody answers there. */
  bootstrap(): BootstrapStatus[]
  /** Peers refused now. */
  bans(): Ban[]
  standing(peer: PeerName): Standing
  /** Scores of the connected peers of the run; undefined without any. */
  scores(): { min: number; median: number; max: number } | undefined
  /** Peers subscribed to a topic, as the gossip router sees it. */
  subscribers(topic: string): PeerName[]
}
