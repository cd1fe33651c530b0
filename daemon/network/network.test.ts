import '../shims.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { StarlingError } from '../../protocols/index.ts'
import { codeOf, MANY_NEWCOMERS, startNode, startSwarm, until } from './testing.ts'

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString()
const bytes = (value: string): Uint8Array => new TextEncoder().encode(value)

test('a small swarm that knows one address becomes fully connected', async (t) => {
  const nodes = await startSwarm(t, 4)
  for (const node of nodes) {
    assert.deepEqual(
      node.connected(),
      nodes
        .filter((one) => one !== node)
        .map((one) => one.self)
        .sort(),
    )
    assert.ok(node.seen.some((event) => event.kind === 'addresses' && event.addresses.length > 0))
    assert.equal(node.seen.filter((event) => event.kind === 'connected').length, 3)
  }
})

test('questions are answered, and errors travel as code and message', async (t) => {
  const [a, b] = await startSwarm(t, 2)
  assert.ok(a && b)
  b.answer('echo', (from, question) => bytes(`${from} said ${text(question)}`))
  b.answer('refuse', () => {
    throw new StarlingError('piece-unknown', 'no such piece')
  })
  b.answer('broken', () => {
    throw new Error('/home/somebody/secret')
  })
  assert.equal(text(await a.ask(b.self, 'echo', bytes('hello'))), `${a.self} said hello`)
  await assert.rejects(a.ask(b.self, 'refuse', bytes('')), { code: 'piece-unknown', message: 'no such piece' })
  await assert.rejects(a.ask(b.self, 'broken', bytes('')), { code: 'internal', message: 'the peer failed to answer' })
  assert.equal(await codeOf(a.ask(b.self, 'nothing', bytes(''))), 'unknown-method')
  assert.equal(await codeOf(a.ask('12D3KooWnobody', 'echo', bytes(''))), 'peer-unreachable')
  const { ask, wire } = a.counters()
  assert.ok((ask.echo?.sent ?? 0) > 5 && (ask.echo?.received ?? 0) > 5)
  assert.ok(wire.sent > 100 && wire.received > 100)
})

test('gossip reaches everybody with its author, and validators decide', async (t) => {
  const nodes = await startSwarm(t, 3)
  const [a, b, c] = nodes
  assert.ok(a && b && c)
  const heard: string[][] = [[], [], []]
  nodes.forEach((node, index) => {
    node.subscribe('news', {
      validate: ({ data }) => {
        if (text(data) === 'stale') return { verdict: 'ignore', reason: 'stale' }
        if (text(data) === 'bad') return { verdict: 'reject', reason: 'not news' }
        return { verdict: 'accept' }
      },
      handle: ({ from, data, topic }) => {
        heard[index]?.push(`${topic} ${from} ${text(data)}`)
        if (text(data) === 'throw') throw new Error('a bug in a handler')
      },
    })
  })
  await until(() => nodes.every((node) => node.subscribers('news').length === 2), 'subscriptions')
  assert.ok((await a.publish('news', bytes('one'))) > 0)
  await a.publish('news', bytes('stale'))
  await a.publish('news', bytes('throw'))
  await a.publish('news', bytes('bad'))
  await a.publish('news', bytes('two'))
  const wanted = ['one', 'throw', 'two'].map((word) => `news ${a.self} ${word}`).sort()
  await until(() => [heard[1], heard[2]].every((list) => list?.length === 3), 'three messages at both')
  assert.deepEqual(heard[1]?.sort(), wanted)
  assert.deepEqual(heard[2]?.sort(), wanted)
  assert.deepEqual(heard[0], [])
  await until(() => (b.counters().rejected['invalid-message'] ?? 0) > 0, 'the rejection to be counted')
  assert.ok(
    b.seen.some(
      (event) => event.kind === 'rejected' && event.reason === 'invalid-message' && event.detail === 'not news',
    ),
  )
  assert.equal(await codeOf(a.publish('secret', bytes(''))), 'unknown-topic')
  assert.equal(await codeOf(a.publish('news', new Uint8Array(64 * 1024 + 1))), 'message-too-large')
  assert.equal(await a.publish('other', bytes('nobody listens')), 0)
})

test('a peer that comes back, with another port, is found again', async (t) => {
  const first = await startNode(t)
  const identity = await generateKeyPair('Ed25519')
  const one = await startNode(t, { identity, bootstrap: first.addresses() })
  await until(() => first.connected().length === 1, 'the first connection')
  await one.stop()
  await until(() => first.connected().length === 0, 'the disconnection')
  const again = await startNode(t, { identity, bootstrap: first.addresses() })
  await until(() => first.connected().includes(again.self) && again.connected().length === 1, 'the second connection')
  again.answer('echo', (_from, question) => question)
  assert.equal(text(await first.ask(again.self, 'echo', bytes('back'))), 'back')
})

test('a bootstrap peer that starts late, or again, is dialled for ever', async (t) => {
  const identity = await generateKeyPair('Ed25519')
  const early = await startNode(t, { identity })
  const address = early.addresses()[0] as string
  const listen = [address.replace(/\/p2p\/.*/, '')]
  await early.stop()
  const other = await startNode(t, { bootstrap: [address] })
  await until(() => other.counters().dialFailures > 1, 'dials in vain')
  const late = await startNode(t, { identity, listen })
  await until(() => other.connected().includes(late.self), 'the first connection')
  await late.stop()
  await until(() => other.connected().length === 0, 'the disconnection')
  const again = await startNode(t, { identity, listen })
  await until(() => other.connected().includes(again.self), 'the second connection')
})

test('a peer of another run is told so, answered nothing, and let go', async (t) => {
  const a = await startNode(t)
  const b = await startNode(t, { run: 'bafyotherrun' })
  let answered = 0
  a.answer('echo', (_from, question) => {
    answered++
    return question
  })
  // Not polite: it asks on its first stream, before any hello.
  b.host.addEventListener('peer:connect', () => void b.ask(a.self, 'echo', bytes('hi')).catch(() => {}))
  assert.equal(await codeOf(b.dial(a.addresses()[0] as string)), 'other-run')
  await until(
    () => [a, b].every((node) => node.seen.some((event) => event.kind === 'rejected' && event.reason === 'other-run')),
    'the reason to be reported',
  )
  await until(() => a.host.getConnections().length === 0, 'the connection to be closed')
  assert.deepEqual([a.connected(), b.connected(), answered], [[], [], 0])
})

test('only peers on the allow-list are admitted', async (t) => {
  const friend = await generateKeyPair('Ed25519')
  const { peerNameOf } = await import('./identity.ts')
  const host = await startNode(t, { admission: { kind: 'allow-list', peers: [peerNameOf(friend)] } })
  const stranger = await startNode(t, { bootstrap: host.addresses() })
  const admitted = await startNode(t, { identity: friend, bootstrap: host.addresses() })
  await until(() => host.connected().includes(admitted.self), 'the friend to be connected')
  await until(
    () => host.seen.some((event) => event.kind === 'rejected' && event.reason === 'not-admitted'),
    'the stranger to be refused',
  )
  assert.ok(!host.connected().includes(stranger.self))
  assert.ok(!stranger.connected().includes(host.self))
})

test('enough proven faults disconnect a peer and refuse it, also after a restart', async (t) => {
  const kept: { bans: { peer: string; until: number; reason: string }[] } = { bans: [] }
  const bans = {
    load: async () => kept.bans,
    save: async (list: readonly (typeof kept.bans)[0][]) => {
      kept.bans = [...list]
    },
  }
  // Its address would have to wait before anybody looks who it is.
  const host = await startNode(t, { bans, limits: MANY_NEWCOMERS })
  const bad = await startNode(t, { bootstrap: host.addresses() })
  await until(() => host.connected().length === 1, 'the connection')
  for (let fault = 0; fault < 5; fault++) host.penalize(bad.self, 'its chunk has another hash')
  assert.equal(host.bans()[0]?.peer, bad.self)
  await until(() => host.connected().length === 0, 'the disconnection')
  await until(
    () => host.seen.some((event) => event.kind === 'rejected' && event.reason === 'banned'),
    'a refused attempt',
  )
  assert.equal(host.connected().length, 0)
  await host.stop()
  assert.equal(kept.bans[0]?.peer, bad.self)
  const again = await startNode(t, { bans })
  assert.equal(again.bans()[0]?.peer, bad.self)
})

test("a user's wrong address is one sentence", async (t) => {
  await assert.rejects(startNode(t, { bootstrap: ['192.0.2.7:7400'] }), {
    code: 'bad-address',
    message: /'192.0.2.7:7400' is no multiaddr/,
  })
  const busy = await startNode(t)
  const listen = [(busy.addresses()[0] as string).replace(/\/p2p\/.*/, '')]
  await assert.rejects(startNode(t, { listen }), { code: 'listen-failed' })
})
