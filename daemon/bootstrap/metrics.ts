/** The Prometheus metrics of a bootstrap node. */
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { BootstrapLoad } from '../network/index.ts'

/** A registry whose figures are taken from `load` at every scrape. */
export function createBootstrapMetrics(load: () => BootstrapLoad): Registry {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  const gauge = (name: string, help: string, read: (now: BootstrapLoad) => number | undefined): void => {
    new Gauge({
      name: `starling_bootstrap_${name}`,
      help,
      registers,
      collect() {
        const value = read(load())
        if (value !== undefined) this.set(value)
      },
    })
  }
  gauge('connections', 'Open connections.', ({ connections }) => connections)
  gauge('runs', 'Runs whose peers said hello lately.', ({ registry }) => registry.runs)
  gauge('peers', 'Peers of all runs that said hello lately.', ({ registry }) => registry.peers)
  gauge('hellos_total', 'Hellos of peers since the start.', ({ registry }) => registry.registered)
  gauge('evicted_total', 'Peers forgotten for others since the start.', ({ registry }) => registry.evicted)
  gauge('bans', 'Peers refused now.', ({ bans }) => bans.length)
  gauge('fellows', 'Other bootstrap nodes connected.', ({ fellows }) => fellows.filter((one) => one.connected).length)
  gauge('relay_reservations', 'Peers that can be reached through this node.', ({ relay }) => relay.reservations)
  gauge('relay_circuits', 'Relayed connections open.', ({ relay }) => relay.circuits)
  gauge('relay_bytes_total', 'Bytes relayed since the start, counted once.', ({ relay }) => relay.bytes)
  gauge('relay_queued_bytes', 'Bytes waiting for a slow receiver.', ({ relay }) => relay.queued)
  gauge('dht_nodes', 'Nodes in the routing table of the DHT that this node serves.', ({ dht }) => dht?.table)
  new Gauge({
    name: 'starling_bootstrap_bytes_total',
    help: 'Bytes on the sockets since the start.',
    labelNames: ['direction'],
    registers,
    collect() {
      const { sent, received } = load().network.wire
      this.set({ direction: 'sent' }, sent)
      this.set({ direction: 'received' }, received)
    },
  })
  new Gauge({
    name: 'starling_bootstrap_rejects_total',
    help: 'What was refused since the start, by reason.',
    labelNames: ['reason'],
    registers,
    collect() {
      for (const [reason, count] of Object.entries(load().network.rejected)) this.set({ reason }, count)
    },
  })
  return registry
}
