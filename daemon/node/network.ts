import type { NetworkFacts } from '../explain/index.ts'
import type { Log } from '../log/index.ts'
import type { NetworkReport, Traffic } from '../metrics/index.ts'
import type { Link, LinkKind, Network, NetworkCounters, NetworkLog } from '../network/index.ts'

/** The network's log lines, into the node's log. */
export function networkLog(log: Log): NetworkLog {
  return {
    debug: (data, message) => log.debug(message, data),
    info: (data, message) => log.debug(message, data), // connections are events of the node, which logs them itself
    warn: (data, message) => log.warn(message, data),
  }
}

/** Addresses others can use first, those of this very machine last. */
export function bestFirst(addresses: readonly string[]): string[] {
  const rank = (address: string): number => (/^\/ip4\/127\.|^\/ip6\/::1\//.test(address) ? 1 : 0)
  return [...addresses].sort((a, b) => rank(a) - rank(b))
}

/** The network's counts by purpose. */
export function trafficOf({ wire, ask, asked, gossip }: NetworkCounters): Traffic {
  const traffic: Traffic = { sent: { wire: wire.sent }, received: { wire: wire.received }, asked }
  for (const [kind, counts] of Object.entries({ ask, gossip })) {
    for (const [name, { sent, received }] of Object.entries(counts)) {
      traffic.sent[`${kind}:${name}`] = sent
      traffic.received[`${kind}:${name}`] = received
    }
  }
  return traffic
}

/** What the metrics say of the network. */
export function reportOf(network: Network): NetworkReport {
  const { dials, dialFailures, rejected, relayed, relay, dht } = network.counters()
  const scores = network.scores()
  return {
    links: network.links(),
    bootstrap: network.bootstrap(),
    dials,
    dialFailures,
    rejected: rejected as Record<string, number>,
    bans: network.bans().length,
    relayed,
    reachability: network.reachability(),
    ...(scores === undefined ? {} : { scores }),
    ...(relay === undefined ? {} : { relay }),
    ...(dht === undefined ? {} : { dht }),
  }
}

/** What an explanation is drawn from. */
export function networkFacts(network: Network): NetworkFacts {
  return { connected: network.connected(), bootstrap: network.bootstrap(), reachability: network.reachability() }
}

/** Connections that bytes rather take: the first of them counts. */
const PREFERENCE: readonly LinkKind[] = ['direct', 'websocket', 'webrtc', 'relay']

/** How this node is connected with each peer: of two connections the better one. */
export function bestLinks(links: readonly Link[]): Map<string, Link> {
  const best = new Map<string, Link>()
  for (const link of links) {
    const before = best.get(link.peer)
    if (before === undefined || PREFERENCE.indexOf(link.kind) < PREFERENCE.indexOf(before.kind))
      best.set(link.peer, link)
  }
  return best
}
