import '../../shims.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { codeOf, startNode, type TestNode, until } from '../testing.ts'

const bytes = (value: string): Uint8Array => new TextEncoder().encode(value)
const text = (value: Uint8Array): string => Buffer.from(value).toString()

/** A node that nobody can dial. */
const startHidden = (t: Parameters<typeof startNode>[0], relays: TestNode[], options: object = {}): Promise<TestNode> =>
  startNode(t, {
    listen: [],
    relay: { use: true },
    dialPrivate: true,
    bootstrap: relays.flatMap((relay) => relay.addresses()),
    ...options,
  })

const kinds = (node: TestNode, peer: TestNode): string[] =>
  node.links().flatMap((link) => (link.peer === peer.self ? [link.kind] : []))

test('two nodes that nobody can dial find each other, ask each other and gossip through a relay', async (t) => {
  const relay = await startNode(t, { relay: { serve: true } })
  const [a, b] = await Promise.all([startHidden(t, [relay]), startHidden(t, [relay])])
  await until(() => a.connected().includes(b.self) && b.connected().includes(a.self), 'the relayed connection')
  assert.deepEqual([kinds(a, b)[0], kinds(a, relay)[0]], ['relay', 'direct'])
  b.answer('echo', (from, question) => bytes(`${from} said ${text(question)}`))
  assert.equal(text(await a.ask(b.self, 'echo', bytes('hello'))), `${a.self} said hello`)
  const heard: string[] = []
  for (const node of [a, b, relay]) {
    node.subscribe('news', {
      validate: () => ({ verdict: 'accept' }),
      handle: ({ data }) => void (node === b && heard.push(text(data))),
    })
  }
  await until(() => a.subscribers('news').includes(b.self), 'the subscription')
  await a.publish('news', bytes('over there'))
  await until(() => heard.length === 1, 'the news')
  const carried = relay.counters().relay
  assert.ok(carried !== undefined && carried.reservations === 2 && carried.circuits >= 1 && carried.bytes > 1_000)
  assert.ok(a.counters().relayed.sent > 100 && a.counters().relayed.received > 100)
  assert.ok(a.addresses().every((address) => address.includes('/p2p-circuit/')))
})

test('bulk through a relay arrives whole, and the relay holds little of it although the asker reads slowly', async (t) => {
  const relay = await startNode(t, { relay: { serve: true } })
  const [a, b] = await Promise.all([startHidden(t, [relay]), startHidden(t, [relay])])
  await until(() => a.connected().includes(b.self), 'the relayed connection')
  const chunk = new Uint8Array(1024 * 1024).fill(7)
  b.answer('chunk', () => chunk)
  let most = 0
  const timer = setInterval(() => {
    most = Math.max(most, relay.counters().relay?.queued ?? 0)
  }, 5)
  t.after(() => clearInterval(timer))
  for (let n = 0; n < 8; n++) {
    const answers = await Promise.all(
      [1, 2].map(() => a.ask(b.self, 'chunk', bytes(''), { maxAnswer: chunk.byteLength, timeout: 30_000 })),
    )
    assert.ok(answers.every((answer) => Buffer.compare(answer, chunk) === 0))
  }
  assert.ok(most < 4 * 1024 * 1024, String(most))
})

test('when a relay dies, another one is used', async (t) => {
  const relays = await Promise.all([startNode(t, { relay: { serve: true } }), startNode(t, { relay: { serve: true } })])
  const third = await startNode(t, { relay: { serve: true } })
  const a = await startHidden(t, [...relays, third])
  const through = (): string[] => a.addresses().map((address) => /\/p2p\/(\w+)\/p2p-circuit/.exec(address)?.[1] ?? '')
  await until(() => new Set(through()).size === 2, 'two reservations')
  const dead = [...relays, third].find((relay) => relay.self === through()[0]) as TestNode
  await dead.stop()
  await until(() => new Set(through()).size === 2 && !through().includes(dead.self), 'a reservation on the third')
})

test('a relay gives away no more than it may, and frees the place of who is gone', async (t) => {
  const relay = await startNode(t, { relay: { serve: { reservations: 1 } } })
  const a = await startHidden(t, [relay])
  await until(() => a.addresses().length > 0, 'the reservation')
  const b = await startHidden(t, [relay])
  await until(() => b.connected().includes(relay.self) && b.connected().includes(a.self), 'the circuit to the first')
  assert.deepEqual(b.addresses(), [])
  await a.stop()
  await until(() => b.addresses().length > 0, 'the place to be given to the second')
})

test('a relayed connection gives way to a direct one when there is an address', async (t) => {
  const relay = await startNode(t, { relay: { serve: true } })
  const identity = await generateKeyPair('Ed25519')
  const a = await startHidden(t, [relay], { identity })
  const b = await startNode(t, { relay: { use: true } })
  b.answer('echo', (_from, question) => question)
  const known = a.addressesOf(b.self)
  assert.deepEqual(known, [])
  await until(() => a.addresses().length > 0, 'a reservation')
  // The other one is dialled by its relayed address first, as if its own were not known.
  await b.dial(a.addresses()[0] as string)
  assert.deepEqual(kinds(b, a), ['relay'])
  assert.equal(text(await a.ask(b.self, 'echo', bytes('one'))), 'one')
  await until(() => kinds(a, b).join() === 'direct' && kinds(b, a).join() === 'direct', 'the direct connection alone')
  assert.equal(text(await a.ask(b.self, 'echo', bytes('two'))), 'two')
  assert.equal(await codeOf(a.ask(b.self, 'nothing', bytes(''))), 'unknown-method')
})
