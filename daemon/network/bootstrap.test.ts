import '../shims.ts'
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { runId } from '../../protocols/index.ts'
import { BootstrapNetwork, type BootstrapNetworkOptions } from './bootstrap-network.ts'
import { reasons, startNode, until } from './testing.ts'

const LOG = { debug() {}, info() {}, warn() {} }

async function startBootstrap(
  t: TestContext,
  options: Partial<BootstrapNetworkOptions> = {},
): Promise<BootstrapNetwork> {
  const identity = options.identity ?? (await generateKeyPair('Ed25519'))
  const node = await BootstrapNetwork.start({ identity, listen: ['/ip4/127.0.0.1/tcp/0'], log: LOG, ...options })
  t.after(() => node.stop())
  return node
}

test('a bootstrap node introduces the peers of each run to each other, and is none itself', async (t) => {
  const bootstrap = await startBootstrap(t)
  const known = { bootstrap: bootstrap.addresses() }
  const [a, b, other] = await Promise.all([
    startNode(t, known),
    startNode(t, known),
    startNode(t, { ...known, run: 'bafyanotherrun' }),
  ])
  await until(() => a.connected().length === 1 && b.connected().length === 1, 'the two to meet')
  assert.deepEqual([a.connected(), b.connected()], [[b.self], [a.self]])
  await until(() => bootstrap.load().registry.runs === 2, 'the other run to be known')
  assert.deepEqual(other.connected(), [])
  assert.ok(other.bootstrap().every((one) => one.connected && one.error === undefined))
  assert.deepEqual([reasons(a, bootstrap.self), reasons(bootstrap.self === '' ? a : b, other.self)], [[], []])
})

test('bootstrap nodes name each other, so that a peer survives the one that it was given', async (t) => {
  const second = await startBootstrap(t)
  const first = await startBootstrap(t, { bootstrap: second.addresses() })
  await until(() => first.load().fellows.some((one) => one.connected && one.peer === second.self), 'the two to meet')
  const a = await startNode(t, { bootstrap: first.addresses() })
  await until(() => a.bootstrap().some((one) => one.peer === second.self && one.connected), 'the second to be known')
  await first.stop()
  const b = await startNode(t, { bootstrap: second.addresses() })
  await until(() => a.connected().includes(b.self) && b.connected().includes(a.self), 'the peers to meet')
})

test('a bootstrap node that is down holds nothing up, and is found when it is back', async (t) => {
  const identity = await generateKeyPair('Ed25519')
  const first = await startBootstrap(t, { identity })
  const addresses = first.addresses()
  await first.stop()
  const a = await startNode(t, { bootstrap: addresses })
  await until(() => (a.bootstrap()[0]?.failures ?? 0) > 0, 'a dial in vain')
  assert.match(a.bootstrap()[0]?.error ?? '', /nobody listens there/)
  const listen = addresses.map((one) => one.replace(/\/p2p\/.*/, ''))
  const again = await startBootstrap(t, { identity, listen })
  await until(() => again.load().registry.peers === 1, 'the peer to come')
})

test('peers that know nothing but a node of a DHT each find each other by their run', async (t) => {
  const protocol = '/starling/test-of-network/kad/1.0.0'
  const second = await startBootstrap(t, { dht: { protocol, private: true } })
  const first = await startBootstrap(t, { dht: { protocol, private: true }, bootstrap: second.addresses() })
  const run = runId(new TextEncoder().encode('a run in a DHT'))
  // As bootstrap nodes of the network proper these would introduce the peers themselves.
  const start = (node: BootstrapNetwork) =>
    startNode(t, { run, dht: { protocol, mode: 'client', private: true, bootstrap: node.addresses() } })
  const [a, b] = await Promise.all([start(first), start(second)])
  await until(() => a.connected().includes(b.self), 'the peers to meet')
  await until(() => (a.counters().dht?.provided ?? 0) > 0, 'an announcement')
})
