import '../shims.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { ASK_PROTOCOL } from './ask.ts'
import { Counters } from './counters.ts'
import { PROTOCOL_VERSION } from './hello.ts'
import { createHost } from './host.ts'
import { RUN, reasons, startNode, until } from './testing.ts'

const key = new Uint8Array(32).fill(1)

test('peers with the key of a run take part in it and hear its gossip, whoever has another key or none does not', async (t) => {
  const a = await startNode(t, { preSharedKey: key })
  const bootstrap = a.addresses()
  const b = await startNode(t, { preSharedKey: key, bootstrap })
  await until(() => a.connected().includes(b.self), 'the peers with the key to meet')
  const heard: string[] = []
  const note = (who: string) => ({
    validate: () => ({ verdict: 'accept' as const }),
    handle: () => void heard.push(who),
  })
  b.subscribe('news', note('b'))
  a.subscribe('news', note('a'))

  const none = await startNode(t, { bootstrap })
  const wrong = await startNode(t, { preSharedKey: new Uint8Array(32).fill(2), bootstrap })
  for (const node of [none, wrong]) node.subscribe('news', note('stranger'))
  await until(() => [none, wrong].every((node) => reasons(a, node.self).includes('not-admitted')), 'both to be refused')
  // Both ends know why.
  await until(() => [none, wrong].every((node) => reasons(node, a.self).includes('not-admitted')), 'both to be told')
  assert.deepEqual(a.connected(), [b.self])
  assert.ok([none, wrong].every((node) => node.connected().length === 0))

  await until(() => a.subscribers('news').includes(b.self), 'the subscription')
  await a.publish('news', Uint8Array.of(1))
  await until(() => heard.length > 0, 'the news')
  assert.deepEqual(heard, ['b'])
})

test('a peer of another version is told so, and both ends count it', async (t) => {
  const a = await startNode(t)
  // What a later version may be like: another id of the protocol, with a number in the same place.
  const later = ASK_PROTOCOL.replace(/[^/]+$/, '2.0.0')
  assert.notEqual(later, ASK_PROTOCOL)
  const host = await createHost({
    identity: await generateKeyPair('Ed25519'),
    run: RUN,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    announce: [],
    maxPeers: 4,
    pingInterval: 60_000,
    gater: {},
    metrics: new Counters().metrics(),
    refused: () => {},
  })
  t.after(() => host.stop())
  await host.handle(later, (stream) => stream.abort(new Error('not here')))
  await host.start()
  const name = host.peerId.toString()
  await assert.rejects(a.dial(String(host.getMultiaddrs()[0])), (error: Error) => {
    assert.match(error.message, new RegExp(`${name} speaks version 2\\.0\\.0 .* and peer ${a.self} version`))
    return (error as { code?: string }).code === 'other-version'
  })
  assert.deepEqual(reasons(a, name), ['other-version'])
  assert.equal(a.counters().rejected['other-version'], 1)
  assert.equal(PROTOCOL_VERSION, 1)
})
