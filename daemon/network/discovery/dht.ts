/** The DHT as a service of libp2p: its limits, and what is left out of it on purpose. */
import { peerDiscoverySymbol } from '@libp2p/interface'
import { kadDHT, passthroughMapper, removePrivateAddressesMapper, type SingleKadDHT } from '@libp2p/kad-dht'
import { StarlingError } from '../../../protocols/index.ts'
import type { DhtOptions } from './types.ts'

/** Connections that a look-up may have open beside those to peers of the run. */
export const DHT_CONNECTIONS = 96

/** Provider records live two days in a DHT (libp2p's Kademlia specification), and a server must know their addresses as long, milliseconds. */
export const PROVIDER_AGE = 48 * 60 * 60_000

/** Streams of the DHT on each connection: a client answers nobody, and asks a few things at once. */
const CLIENT_STREAMS = 8
const SERVER_STREAMS = 32

/** Nodes that wait to be tried for the routing table; strangers name them, and more of them help nobody. */
const MAX_PENDING_NODES = 1_024

export type Dht = SingleKadDHT

/** Runs are found by provider records. Other values, which can be of any size, are for others to keep. */
function refuseValues(): never {
  throw new StarlingError('no-values', 'this node of the DHT keeps no values')
}

/**
 * The service to be named `dht` among libp2p's. The mode is fixed: left to itself it turns into a server as soon as the node has a public
 * address, and serves the world. The nodes it comes across are no concern of the peer manager, which would take them for peers of the run, so it is not
 * registered as peer discovery.
 */
export function dhtService(options: DhtOptions): (components: Parameters<ReturnType<typeof kadDHT>>[0]) => Dht {
  const create = kadDHT({
    protocol: options.protocol,
    clientMode: options.mode === 'client',
    peerInfoMapper: options.private === true ? passthroughMapper : removePrivateAddressesMapper,
    maxInboundStreams: options.mode === 'client' ? CLIENT_STREAMS : SERVER_STREAMS,
    maxOutboundStreams: SERVER_STREAMS,
    routingTableUpdateMaxQueueSize: MAX_PENDING_NODES,
    validators: { pk: refuseValues },
  })
  return (components) => {
    const dht = create(components) as Dht
    Object.defineProperty(dht, peerDiscoverySymbol, { value: undefined })
    return dht
  }
}
