/** What /metrics says of the network: read at every scrape from what the network counts, so that nothing is counted twice. */
import { Counter, Gauge, type Registry } from 'prom-client'
import type { BootstrapStatus, ByteCount, Link, LinkKind, Reachability } from '../network/index.ts'

/** What the network tells at a scrape; what is absent, this node does not have or does not look at. */
export interface NetworkReport {
  links: readonly Link[]
  bootstrap: readonly BootstrapStatus[]
  /** Since the start. */
  dials: number
  dialFailures: number
  /** Refusals since the start, by reason; the reasons come from an enum. */
  rejected: Readonly<Record<string, number>>
  /** Peers refused now. */
  bans: number
  /** Bytes of connections through a relay of others. */
  relayed?: ByteCount
  reachability?: Reachability
  /** What connected peers are worth, from -100 to 100. */
  scores?: { min: number; median: number; max: number }
  /** Questions to a DHT since the start. */
  dht?: { queries: number; failures: number; found: number; provided: number }
  /** As a relay for others. */
  relay?: { reservations: number; circuits?: number; bytes?: number }
}

const DIRECTIONS: readonly Link['direction'][] = ['inbound', 'outbound']
const KINDS: readonly LinkKind[] = ['direct', 'websocket', 'webrtc', 'relay']
const STATES: readonly Reachability['state'][] = ['reachable', 'private', 'unknown', 'local']

/** Adds the metrics of the network. Labels have as many values as the enums behind them. */
export function addNetworkMetrics(registry: Registry, report: () => NetworkReport): void {
  const registers = [registry]
  const gauge = (
    name: string,
    help: string,
    labelNames: string[],
    read: (from: NetworkReport, to: Gauge) => void,
  ): void => {
    new Gauge({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset()
        read(report(), this)
      },
    })
  }
  /** A count that the network keeps: set, as it were, to what that says. */
  const total = (
    name: string,
    help: string,
    labelNames: string[],
    read: (from: NetworkReport, to: Counter) => void,
  ): void => {
    new Counter({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset()
        read(report(), this)
      },
    })
  }

  gauge(
    'starling_open_connections',
    'Open connections, by who dialled and by how their bytes go.',
    ['direction', 'kind'],
    ({ links }, to) => {
      for (const direction of DIRECTIONS)
        for (const kind of KINDS)
          to.set({ direction, kind }, links.filter((link) => link.direction === direction && link.kind === kind).length)
    },
  )
  gauge(
    'starling_bootstrap_addresses',
    'Addresses that the node goes back to, by what became of the last dial.',
    ['state'],
    ({ bootstrap }, to) => {
      const state = ({ connected, error }: BootstrapStatus): string =>
        connected ? 'connected' : error === undefined ? 'untried' : 'failing'
      for (const name of ['connected', 'failing', 'untried'])
        to.set({ state: name }, bootstrap.filter((one) => state(one) === name).length)
    },
  )
  total(
    'starling_dials_total',
    'Dials of other peers, by how they ended; those under way count as ok.',
    ['outcome'],
    ({ dials, dialFailures }, to) => {
      to.inc({ outcome: 'ok' }, Math.max(0, dials - dialFailures))
      to.inc({ outcome: 'failed' }, dialFailures)
    },
  )
  gauge(
    'starling_reachability',
    'Whether others can dial this node: 1 for the state that it is in.',
    ['state'],
    ({ reachability }, to) => {
      for (const state of STATES)
        if (reachability !== undefined) to.set({ state }, reachability.state === state ? 1 : 0)
    },
  )
  gauge('starling_relay_reservations', 'Relays that hold a place for this node.', [], ({ reachability }, to) => {
    if (reachability !== undefined) to.set(reachability.relays.length)
  })
  total(
    'starling_relayed_bytes_total',
    'Bytes of connections of this node through a relay of others.',
    ['direction'],
    ({ relayed }, to) => {
      if (relayed === undefined) return
      to.inc({ direction: 'sent' }, relayed.sent)
      to.inc({ direction: 'received' }, relayed.received)
    },
  )
  gauge('starling_bans', 'Peers that are refused now.', [], ({ bans }, to) => to.set(bans))
  gauge(
    'starling_peer_score',
    'What the connected peers are worth, from -100 to 100.',
    ['quantile'],
    ({ scores }, to) => {
      if (scores === undefined) return
      to.set({ quantile: '0' }, scores.min)
      to.set({ quantile: '0.5' }, scores.median)
      to.set({ quantile: '1' }, scores.max)
    },
  )
  total('starling_dht_queries_total', 'Questions to the DHT, by how they ended.', ['outcome'], ({ dht }, to) => {
    if (dht === undefined) return
    to.inc({ outcome: 'ok' }, Math.max(0, dht.queries - dht.failures))
    to.inc({ outcome: 'failed' }, dht.failures)
  })
  total('starling_dht_peers_found_total', 'Peers of the run that the DHT named.', [], ({ dht }, to) => {
    if (dht !== undefined) to.inc(dht.found)
  })
  total('starling_dht_provided_total', 'Times that this node was announced in the DHT.', [], ({ dht }, to) => {
    if (dht !== undefined) to.inc(dht.provided)
  })
  gauge(
    'starling_relay_served_reservations',
    'Places that this node holds for others as a relay.',
    [],
    ({ relay }, to) => {
      if (relay !== undefined) to.set(relay.reservations)
    },
  )
  gauge(
    'starling_relay_served_circuits',
    'Connections of others that go through this node now.',
    [],
    ({ relay }, to) => {
      if (relay?.circuits !== undefined) to.set(relay.circuits)
    },
  )
  total('starling_relay_served_bytes_total', 'Bytes that this node has relayed for others.', [], ({ relay }, to) => {
    if (relay?.bytes !== undefined) to.inc(relay.bytes)
  })
}
