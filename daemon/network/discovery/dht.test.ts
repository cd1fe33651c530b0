import '../../shims.ts'
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { multiaddr } from '@multiformats/multiaddr'
import { runId, seededRandom } from '../../../protocols/index.ts'
import { systemClock } from '../clock.ts'
import { Counters } from '../counters.ts'
import { createHost, type Host } from '../host.ts'
import { until } from '../testing.ts'
import { type DhtOptions, Finder } from './index.ts'

const PROTOCOL = '/starling/test-of-dht/kad/1.0.0'
const RUN = runId(new TextEncoder().encode('a run'))
/** Look-ups take a second or two, and many times that on a machine that is busy with other tests, milliseconds. */
const PATIENCE = 150_000
const LOG = { debug() {}, info() {}, warn() {} }

async function startHost(t: TestContext, dht: DhtOptions): Promise<Host> {
  const host = await createHost({
    identity: await generateKeyPair('Ed25519'),
    run: RUN,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    announce: [],
    maxPeers: 48,
    pingInterval: 60_000,
    gater: {},
    metrics: new Counters().metrics(),
    refused: () => {},
    dht,
  })
  t.after(() => host.stop())
  await host.start()
  return host
}

async function startServers(t: TestContext, count: number): Promise<Host[]> {
  const options = { protocol: PROTOCOL, mode: 'server' as const, bootstrap: [], private: true }
  const servers = await Promise.all(Array.from({ length: count }, () => startHost(t, options)))
  // Each knows the one before it.
  for (const [index, server] of servers.entries()) {
    if (index > 0) await server.dial((servers[index - 1] as Host).getMultiaddrs())
  }
  return servers
}

/** A client that knows the given nodes, and whom it has found. */
async function startFinder(t: TestContext, known: readonly Host[]) {
  const bootstrap = known.map((host) => String(host.getMultiaddrs()[0]))
  const options: DhtOptions = { protocol: PROTOCOL, mode: 'client', bootstrap, private: true }
  const host = await startHost(t, options)
  const found = new Map<string, string[]>()
  assert.ok(host.services.dht !== undefined)
  const finder = new Finder({
    dht: host.services.dht,
    host,
    options,
    bootstrap: bootstrap.map((address) => multiaddr(address)),
    run: RUN,
    clock: systemClock,
    random: seededRandom('finder', host.peerId.toString()),
    log: LOG,
    peers: () => 0,
    reachable: () => true,
    found: (peer, addresses) => void found.set(peer, addresses),
  })
  t.after(() => finder.stop())
  finder.start()
  return { host, finder, found, self: host.peerId.toString() }
}

test('two peers that know different nodes of a DHT find each other by their run, and serve nobody', async (t) => {
  const servers = await startServers(t, 8)
  const a = await startFinder(t, servers.slice(0, 2))
  const b = await startFinder(t, servers.slice(6))
  await until(() => a.found.has(b.self) && b.found.has(a.self), 'the peers to find each other', PATIENCE)
  const bare = (addresses: Iterable<unknown> = []): string[] =>
    [...new Set([...addresses].map((one) => String(one).replace(/\/p2p\/.*/, '')))].sort()
  assert.deepEqual(bare(a.found.get(b.self)), bare(b.host.getMultiaddrs()))
  const { found, provided, table } = a.finder.counts()
  assert.ok(found === 1 && provided >= 1 && table >= 2)
  assert.ok(!a.host.getProtocols().includes(PROTOCOL))
  // Values of any size would be for others to keep.
  const taken: string[] = []
  for await (const event of a.host.services.dht?.put(new TextEncoder().encode('/pk/x'), new Uint8Array(9)) ?? []) {
    if (event.name === 'PEER_RESPONSE' && event.messageName === 'PUT_VALUE') taken.push(event.from.toString())
  }
  assert.deepEqual(taken, [])
})

test('a DHT that cannot be reached holds nothing up, and is entered when it can', async (t) => {
  const [server] = (await startServers(t, 1)) as [Host]
  const address = server.getMultiaddrs()
  await server.stop()
  const lost = await startFinder(t, [{ getMultiaddrs: () => address } as Host])
  assert.equal(lost.finder.counts().queries, 0)
  await server.start()
  await lost.host.dial(server.getMultiaddrs())
  await until(() => lost.finder.counts().provided > 0, 'an announcement', PATIENCE)
})
