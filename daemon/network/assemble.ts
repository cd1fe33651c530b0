/** Builds the parts of a network and connects them with each other; nothing is started. */
import type { Clock, PeerName, Random } from '../../protocols/index.ts'
import { announced, isPrivateAddress, isRelayed, parseAddress } from './addresses.ts'
import { Admittance } from './admission.ts'
import { AskService } from './ask.ts'
import { connectionsWith, peerOver, protocolsOf } from './connections.ts'
import { Counters } from './counters.ts'
import { DialScope } from './dial-scope.ts'
import { Finder } from './discovery/index.ts'
import { createGater } from './gater.ts'
import { Gossip, gossipOptions, SharedAddresses } from './gossip.ts'
import { HELLO, sayable } from './hello.ts'
import { Hellos } from './hellos.ts'
import { createHost, type Host } from './host.ts'
import { Introductions } from './introductions.ts'
import { Ledger } from './ledger.ts'
import type { Listeners } from './listeners.ts'
import { DEFAULT_EXPLORE, PeerManager } from './peers.ts'
import { Places, placeLimits } from './places.ts'
import { Reach } from './reach.ts'
import { Connectivity } from './reachability/index.ts'
import type { NetworkLog, NetworkOptions, RejectReason } from './types.ts'

/** A swarm up to this size is fully connected. */
const DEFAULT_TARGET = 12
const DEFAULT_MAX = 48
const DEFAULT_HEARTBEAT = 1_000
/** Often enough to find a dead line within half a minute. */
const DEFAULT_PING = 10_000

/** What the parts are made from beside the options. */
export interface Surroundings {
  self: PeerName
  clock: Clock
  log: NetworkLog
  listeners: Listeners
  /** Pseudo-random numbers for a purpose. */
  random(purpose: string): Random
  /** Aborts when the network stops. */
  signal: AbortSignal
}

export interface Parts {
  host: Host
  ledger: Ledger
  counters: Counters
  asks: AskService
  gossip: Gossip
  introductions: Introductions
  peers: PeerManager
  connectivity: Connectivity
  /** Looks for peers in the DHT, if there is one. */
  finder: Finder | undefined
}

/** Throws 'bad-address' for a multiaddr that cannot be read. */
export async function assemble(
  options: NetworkOptions,
  { self, clock, log, listeners, random, signal }: Surroundings,
): Promise<Parts> {
  const {
    identity,
    run,
    topics,
    listen,
    announce = [],
    admission = { kind: 'open' },
    maxPeers = DEFAULT_MAX,
    dht,
    preSharedKey,
  } = options
  const counters = new Counters()
  const shared = new SharedAddresses()
  const connectivity = new Connectivity(options, shared)
  const rejected = (peer: PeerName, reason: RejectReason, detail: string): void => {
    counters.rejected(reason)
    log.debug({ peer, reason, detail }, 'rejected')
    listeners.emit({ kind: 'rejected', peer, reason, detail })
  }
  /** Something was refused of which nobody knows whose it was. */
  const refused = (reason: RejectReason, detail: string): void => {
    counters.rejected(reason)
    log.debug({ reason, detail }, 'rejected')
  }
  const ledger = new Ledger({
    clock,
    log,
    store: options.bans,
    rejected,
    disconnect: (peer, proven) => {
      if (proven) places.blame(peer)
      void peers.disconnect(peer)
    },
    banned: (ban) => listeners.emit({ kind: 'banned', peer: ban.peer, until: ban.until, detail: ban.reason }),
  })
  const joined = (peer: PeerName): void => {
    places.settle(peer)
    const connection = connectionsWith(host, peer)[0]
    if (connection === undefined) return
    const { remoteAddr, direction } = connection
    log.info({ peer, address: remoteAddr.toString() }, 'connected')
    listeners.emit({ kind: 'connected', peer, address: remoteAddr.toString(), direction })
    listeners.connectionsChanged()
  }
  const left = (peer: PeerName): void => {
    log.info({ peer }, 'disconnected')
    listeners.emit({ kind: 'disconnected', peer })
    listeners.connectionsChanged()
  }
  const limits = { ...placeLimits(maxPeers), ...options.limits }
  const places = new Places(limits, clock, (peer) => ledger.isGood(peer) || peers.isKept(peer))
  const scope = new DialScope({ listen, dialPrivate: options.dialPrivate, now: () => clock.now() })
  const admittance = new Admittance({ self, run, admission, preSharedKey })
  // Where everybody may take part, gossip need not wait for hellos.
  const admitted = preSharedKey === undefined ? undefined : (peer: PeerName) => introductions.has(peer)
  const host: Host = await createHost({
    identity,
    run,
    listen,
    announce,
    maxPeers,
    pingInterval: options.pingMilliseconds ?? DEFAULT_PING,
    mdns: options.mdns === true ? (peer, addresses) => peers.learn(peer, addresses) : undefined,
    gossip: gossipOptions(run, topics, (peer) => ledger.score(peer), shared, admitted),
    dht,
    relayServer: connectivity.server,
    relayClient: connectivity.client,
    autonat: options.autonat,
    webrtc: options.webrtc,
    gater: createGater({
      self,
      admission,
      ledger,
      places,
      isService: (peer) => introductions.services().includes(peer),
      mayDial: (address) => scope.allows(address),
      refused: (reason, detail) => refused(reason, detail),
    }),
    metrics: counters.metrics(),
    refused: (detail, muxer) => {
      const peer = peerOver(host, muxer)
      if (peer === undefined) refused('malformed-frame', detail)
      else ledger.reject(peer, 'malformed-frame', detail)
    },
  })
  const parts = { ledger, counters, clock, log }
  const introduced = async (peer: PeerName): Promise<boolean> => introductions.has(peer) || introductions.begin(peer)
  const asks: AskService = new AskService({
    ...parts,
    libp2p: host,
    rates: options.rates,
    introduced,
    introduction: HELLO,
    reach: (peer) => reach.to(peer),
  })
  const gossip = new Gossip({ ...parts, router: host.services.pubsub, run, topics, admitted })
  const introductions: Introductions = new Introductions({
    ...parts,
    self,
    run,
    ask: asks,
    mine: (peer) => hellos.to(peer),
    refusal: (peer, said) => admittance.refusal(peer, said),
    protocols: (peer) => protocolsOf(host, peer, clock, signal),
    isDhtNode: (protocols) => dht !== undefined && protocols.includes(dht.protocol),
    isConnected: (peer) => connectionsWith(host, peer).length > 0,
    chosen: (peer) => connectionsWith(host, peer).some((one) => one.direction === 'outbound'),
    heard: (peer, said) => hellos.heard(peer, said),
    introduced: (peer) => joined(peer),
    departed: (peer) => left(peer),
    stranger: (peer) => {
      peers.avoid(peer)
      void peers.disconnect(peer)
    },
    silent: (peer) => void peers.disconnect(peer),
    signal,
  })
  const peers: PeerManager = new PeerManager({
    ...parts,
    libp2p: host,
    self,
    introductions,
    random: random('peer-manager'),
    emit: (event) => listeners.emit(event),
    gone: (peer) => asks.forget(peer),
    relays: () => connectivity.relays(),
    beat: () => connectivity.look(),
    usedAt: (peer) => asks.usedAt(peer),
    target: options.targetPeers ?? DEFAULT_TARGET,
    max: maxPeers,
    heartbeat: options.heartbeatMilliseconds ?? DEFAULT_HEARTBEAT,
    explore: options.exploreMilliseconds ?? DEFAULT_EXPLORE,
    scope,
    dialsRelays: connectivity.client !== undefined,
    signal,
  })
  const hellos: Hellos = new Hellos({
    self,
    run,
    admittance,
    peers,
    addresses: () => announced(host.getMultiaddrs()),
    connected: () => introductions.peers(),
  })
  const reach: Reach = new Reach({
    self,
    ask: asks,
    introductions,
    clock,
    random: random('reach'),
    addressesOf: (peer) => sayable(peer === self ? announced(host.getMultiaddrs()) : peers.addressesOf(peer)),
    known: (peer) => peers.known(peer),
    isConnected: (peer) => connectionsWith(host, peer).length > 0,
    usable: (peer, addresses) => peers.usable(peer, addresses),
    dial: (peer, addresses) => peers.connect(peer, addresses),
  })
  peers.addBootstrap(options.bootstrap ?? [])
  const service = host.services.dht
  if (dht === undefined || service === undefined)
    return { host, ledger, counters, asks, gossip, introductions, peers, connectivity, finder: undefined }
  const finder = new Finder({
    dht: service,
    host,
    options: dht,
    bootstrap: dht.bootstrap.map(parseAddress),
    run,
    clock,
    random: random('dht'),
    log,
    peers: () => introductions.peers().length,
    reachable: () =>
      host.getMultiaddrs().some((one) => dht.private === true || isRelayed(one) || !isPrivateAddress(one)),
    found: (peer, addresses) => peers.learn(peer, addresses),
  })
  listeners.onEvent((event) => {
    if (event.kind === 'addresses') finder.addressesChanged()
    if (event.kind === 'disconnected' && introductions.peers().length === 0) finder.lonely()
  })
  return { host, ledger, counters, asks, gossip, introductions, peers, connectivity, finder }
}
