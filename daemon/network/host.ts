/** The libp2p node: which modules, and every limit set on purpose. */
import type { GossipSub, GossipsubOpts } from '@libp2p/gossipsub'
import { type Identify, identify } from '@libp2p/identify'
import type { ConnectionGater, Libp2p, Metrics, PrivateKey, StreamMuxer } from '@libp2p/interface'
import { mdns } from '@libp2p/mdns'
import { noise } from '@libp2p/noise'
import { type Ping, ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { createLibp2p } from 'libp2p'
import type { PeerName } from '../../protocols/index.ts'
import { isPrivateAddress, parseAddress } from './addresses.ts'
import {
  BoundedDatastore,
  DHT_CONNECTIONS,
  type Dht,
  type DhtOptions,
  dhtService,
  PROVIDER_AGE,
} from './discovery/index.ts'
import { gossipService } from './gossip.ts'
import { parseListen } from './listening.ts'
import { boundedYamux } from './muxer.ts'
import { OwnAddresses, RELAY_WINDOW, type ReachModules, reachModules } from './reachability/index.ts'

/** Connections of one machine per second: a swarm on loopback comes from one address, strangers need no more than a few. */
const INBOUND_PER_HOST_PRIVATE = 200
const INBOUND_PER_HOST_PUBLIC = 10
/** Connections in the middle of their handshakes. */
const MAX_PENDING_INBOUND = 64
/** TCP's queue of connections not yet accepted. */
const BACKLOG = 64
/** Handshakes and protocol negotiation of a connection or stream must be done within this, milliseconds. */
const UPGRADE_TIMEOUT = 10_000
/** Unanswered this long, the connection is taken to be dead, milliseconds: a busy trainer must not look like one. */
const PING_TIMEOUT = 20_000
/**
 * Pings of one connection at once. The monitor aborts a connection when a ping cannot be sent, so one that is answered late must not
 * stand in the way of the next: the default of one does.
 */
const MAX_PINGS = 8
/** Idle TCP connections are kept by the monitor's pings; silence beyond this is a dead line, milliseconds. */
const SOCKET_TIMEOUT = 120_000

export interface HostOptions extends Omit<ReachModules, 'own'> {
  identity: PrivateKey
  listen: readonly string[]
  announce: readonly string[]
  /** Look on the local network for peers of the run, and tell of them. */
  mdns?: ((peer: PeerName, addresses: string[]) => void) | undefined
  run: string
  maxPeers: number
  /** Milliseconds between libp2p's own checks of each connection. */
  pingInterval: number
  /** Without it there is no gossip router. */
  gossip?: Partial<GossipsubOpts>
  /** Take part in a DHT. */
  dht?: DhtOptions | undefined
  gater: ConnectionGater
  metrics: Metrics
  /** A connection is given up for what its muxer was sent. */
  refused(detail: string, muxer: StreamMuxer): void
}

/** The node; `pubsub` is there if it was made with `gossip`, `dht` if with `dht`. */
export type Host = Libp2p<{ identify: Identify; ping: Ping; pubsub: GossipSub; dht?: Dht; own: OwnAddresses }>

/** Makes a node that is not started. Throws 'bad-address' for an address that cannot be read. */
export async function createHost(options: HostOptions): Promise<Host> {
  const listen = options.listen.map(parseListen)
  const local = listen.some(isPrivateAddress)
  // Two peers that dial each other at once have two connections for a while.
  const maxConnections = options.maxPeers * 2 + 8 + (options.dht === undefined ? 0 : DHT_CONNECTIONS)
  const { gossip, dht } = options
  const reach = reachModules({ ...options, own: new OwnAddresses() })
  return (await createLibp2p({
    start: false,
    privateKey: options.identity,
    nodeInfo: { name: 'starling', version: '0.1.0', userAgent: 'starling/0.1.0' },
    addresses: {
      listen: [...listen.map(String), ...reach.listen],
      appendAnnounce: options.announce.map((text) => parseAddress(text).toString()),
    },
    transports: [
      tcp({
        maxConnections,
        backlog: BACKLOG,
        inboundSocketInactivityTimeout: SOCKET_TIMEOUT,
        outboundSocketInactivityTimeout: SOCKET_TIMEOUT,
      }),
      ...reach.transports,
    ],
    connectionEncrypters: [noise()],
    streamMuxers: [boundedYamux(options.refused, options.relayServer === undefined ? undefined : RELAY_WINDOW)],
    peerDiscovery: options.mdns === undefined ? [] : [localDiscovery(options.run, options.mdns)],
    connectionGater: options.gater,
    connectionManager: {
      maxConnections,
      maxParallelDials: 16,
      maxDialQueueLength: 64,
      maxPeerAddrsToDial: 8,
      dialTimeout: UPGRADE_TIMEOUT,
      inboundUpgradeTimeout: UPGRADE_TIMEOUT,
      inboundStreamProtocolNegotiationTimeout: UPGRADE_TIMEOUT,
      outboundStreamProtocolNegotiationTimeout: UPGRADE_TIMEOUT,
      inboundConnectionThreshold: local ? INBOUND_PER_HOST_PRIVATE : INBOUND_PER_HOST_PUBLIC,
      maxIncomingPendingConnections: MAX_PENDING_INBOUND,
      reconnectRetries: 0,
    },
    // Nothing else here pings: the monitor's pings would be in the way, or it in theirs.
    connectionMonitor: { pingInterval: options.pingInterval, pingTimeout: { minTimeout: PING_TIMEOUT } },
    metrics: () => options.metrics,
    datastore: new BoundedDatastore(),
    // Who serves a DHT must know the addresses in its records as long as the records live.
    ...(dht?.mode === 'server' ? { peerStore: { maxAddressAge: PROVIDER_AGE, maxPeerAge: PROVIDER_AGE } } : {}),
    services: {
      identify: identify({ maxMessageSize: 8 * 1024 }),
      ping: ping({ maxInboundStreams: MAX_PINGS, maxOutboundStreams: MAX_PINGS }),
      ...(gossip === undefined ? {} : { pubsub: gossipService(gossip) }),
      ...(dht === undefined ? {} : { dht: dhtService(dht) }),
      ...reach.services,
    },
  })) as unknown as Host
}

/**
 * mDNS, which tells what it finds by itself: libp2p's event 'peer:discovery' is sent for every peer that it comes to know by whatever means, those of a walk
 * through the DHT among them.
 */
function localDiscovery(run: string, found: NonNullable<HostOptions['mdns']>): ReturnType<typeof mdns> {
  const create = mdns({ serviceTag: mdnsTag(run) })
  return (components) => {
    const discovery = create(components)
    discovery.addEventListener('peer', ({ detail }) => found(detail.id.toString(), detail.multiaddrs.map(String)))
    return discovery
  }
}

/** Peers of other runs on the same network are not even found. */
function mdnsTag(run: string): string {
  return `_starling-${run
    .toLowerCase()
    .replace(/[^a-z0-9]/g, '')
    .slice(-16)}._udp.local`
}
