/** The modules of libp2p by which a node is reached, as its options want them. */
import { autoNAT } from '@libp2p/autonat'
import { autoNATv2 } from '@libp2p/autonat-v2'
import { webRTC } from '@libp2p/webrtc'
import { webSockets } from '@libp2p/websockets'
import type { Libp2pOptions } from 'libp2p'
import type { OwnAddresses } from './own-addresses.ts'
import { type RelayClient, WANTED_RELAYS } from './relay-client.ts'
import type { RelayServer } from './relay-server.ts'

export interface ReachModules {
  own: OwnAddresses
  relayServer?: RelayServer | undefined
  relayClient?: RelayClient | undefined
  autonat?: boolean | undefined
  webrtc?: { stun: readonly string[] } | undefined
}

/** Streams of AutoNAT on one connection. */
const AUTONAT_STREAMS = { maxInboundStreams: 2, maxOutboundStreams: 2 }

/** Transports beside TCP, services, and what to listen on for them. */
export function reachModules(options: ReachModules): {
  listen: string[]
  transports: NonNullable<Libp2pOptions['transports']>
  services: Record<string, (components: never) => unknown>
} {
  const { own, relayServer, relayClient, autonat, webrtc } = options
  const listen: string[] = []
  // One for each relay that this node may be reached through.
  if (relayClient?.reserves) listen.push(...new Array<string>(WANTED_RELAYS).fill('/p2p-circuit'))
  if (relayClient?.reserves && webrtc !== undefined) listen.push('/webrtc')
  // libp2p would ask public STUN servers by default.
  const rtcConfiguration = { iceServers: (webrtc?.stun ?? []).map((urls) => ({ urls })) }
  return {
    listen,
    transports: [
      webSockets(),
      ...(relayClient === undefined ? [] : [relayClient.transport]),
      ...(relayClient === undefined || webrtc === undefined ? [] : [webRTC({ rtcConfiguration })]),
    ],
    services: {
      own: own.service,
      ...(relayServer === undefined ? {} : { relay: relayServer.service }),
      ...(autonat
        ? {
            autonat: (components) => autoNAT(AUTONAT_STREAMS)(own.watched(components)),
            autonat2: (components) => autoNATv2(AUTONAT_STREAMS)(own.watched(components)),
          }
        : {}),
    },
  }
}
