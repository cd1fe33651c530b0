/**
 * A DHT of many nodes on this machine stands in for the public one: two peers of a run that know only two of its nodes each find each other by the run's CID.
 *
 *     node scripts/lab/dht.js [--nodes 30] [--runs 5] [--limit 30]
 *
 * The nodes are DHT servers and nothing else, with a protocol name of their own, on loopback: nothing that introduces peers in other ways, and no
 * peer is given another's address. Prints one JSON object a line: for each run the seconds from the start of the second peer until each is connected with the
 * other, and last a summary. Exit code 1 when a run took longer than the limit.
 */
import { parseArgs } from 'node:util'
import '../../dist/daemon/shims.js'
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { Counters } from '../../dist/daemon/network/counters.js'
import { createHost } from '../../dist/daemon/network/host.js'
import { createNetwork } from '../../dist/daemon/network/index.js'
import { runId, seededRandom, shuffled } from '../../dist/protocols/index.js'

const PROTOCOL = '/starling/lab/kad/1.0.0'

/** Nodes that each node is given at its start. */
const NEIGHBOURS = 2

/** Seconds for the nodes to get to know each other before the first run: a public DHT is up already as well. */
const SETTLE = 10

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '30' },
    runs: { type: 'string', default: '5' },
    limit: { type: 'string', default: '30' },
  },
})
const count = Number(values.nodes)
const limit = Number(values.limit)
const random = seededRandom('lab/dht')

const nodes = []
for (let index = 0; index < count; index++) nodes.push(await startNode(nodes))
await sleep(SETTLE * 1_000)
const tables = nodes.map((node) => node.services.dht.routingTable.size).sort((a, b) => a - b)
console.log(JSON.stringify({ kind: 'dht', nodes: count, table: { least: tables[0], most: tables.at(-1) } }))

const seconds = []
for (let round = 1; round <= Number(values.runs); round++) {
  const run = runId(randomBytes(32))
  const known = shuffled(nodes, random).slice(0, 4)
  const first = await startPeer(run, known.slice(0, 2))
  const begun = performance.now()
  const second = await startPeer(run, known.slice(2))
  const met = () => first.connected().includes(second.self) && second.connected().includes(first.self)
  while (!met() && performance.now() - begun < limit * 2_000) await sleep(50)
  const took = Math.round((performance.now() - begun) / 100) / 10
  if (met()) seconds.push(took)
  const { dht } = second.counters()
  console.log(
    JSON.stringify({ kind: 'run', round, met: met(), seconds: took, second: dht, first: first.counters().dht }),
  )
  await Promise.all([first.stop(), second.stop()])
}
await Promise.all(nodes.map((node) => node.stop()))

seconds.sort((a, b) => a - b)
const within = seconds.filter((one) => one <= limit).length
const median = seconds[Math.floor(seconds.length / 2)]
const summary = {
  runs: Number(values.runs),
  within,
  limit,
  median,
  most: seconds.at(-1),
  rss: process.memoryUsage().rss,
}
console.log(JSON.stringify({ kind: 'summary', ...summary }))
process.exitCode = within === Number(values.runs) ? 0 : 1

/** A server of the DHT that knows up to two earlier ones. */
async function startNode(earlier) {
  const node = await createHost({
    identity: await generateKeyPair('Ed25519'),
    run: 'none',
    listen: ['/ip4/127.0.0.1/tcp/0'],
    announce: [],
    maxPeers: 64,
    pingInterval: 60_000,
    gater: {},
    metrics: new Counters().metrics(),
    refused: () => {},
    dht: { protocol: PROTOCOL, mode: 'server', bootstrap: [], private: true },
  })
  await node.start()
  for (const other of shuffled(earlier, random).slice(0, NEIGHBOURS)) await node.dial(other.getMultiaddrs())
  return node
}

/** A peer of the run that knows these nodes of the DHT and nobody else. */
async function startPeer(run, known) {
  const network = await createNetwork({
    identity: await generateKeyPair('Ed25519'),
    run,
    topics: ['news'],
    listen: ['/ip4/127.0.0.1/tcp/0'],
    dht: {
      protocol: PROTOCOL,
      mode: 'client',
      private: true,
      bootstrap: known.map((node) => String(node.getMultiaddrs()[0])),
    },
  })
  await network.start()
  return network
}
