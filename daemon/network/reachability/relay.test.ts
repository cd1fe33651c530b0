import '../../shims.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { Stream } from '@libp2p/interface'
import { linkKind } from '../addresses.ts'
import { startNode, type TestNode, until } from '../testing.ts'

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

test('bulk through a relay arrives whole', async (t) => {
  const relay = await startNode(t, { relay: { serve: true } })
  const [a, b] = await Promise.all([startHidden(t, [relay]), startHidden(t, [relay])])
  await until(() => a.connected().includes(b.self), 'the relayed connection')
  const chunk = new Uint8Array(1024 * 1024).fill(7)
  b.answer('chunk', () => chunk)
  for (let n = 0; n < 4; n++) {
    const question = { maxAnswer: chunk.byteLength, timeout: 30_000 }
    const answers = await Promise.all([1, 2].map(() => a.ask(b.self, 'chunk', bytes(''), question)))
    assert.ok(answers.every((answer) => Buffer.compare(answer, chunk) === 0))
  }
})

test('who sends without end to somebody who does not read fills no relay', async (t) => {
  const relay = await startNode(t, { relay: { serve: true } })
  const [a, b] = await Promise.all([startHidden(t, [relay]), startHidden(t, [relay])])
  await until(() => a.connected().includes(b.self) && b.connected().includes(a.self), 'the relayed connection')
  const circuits = (node: TestNode): Stream[] =>
    node.host
      .getConnections()
      .flatMap((one) => one.streams.filter(({ protocol }) => /relay.*(hop|stop)/.test(protocol)))
  for (const stream of circuits(b)) stream.pause()
  const [stream] = circuits(a)
  assert.ok(stream !== undefined)
  let sent = 0
  const junk = new Uint8Array(64 * 1024)
  let full = false
  stream.addEventListener('drain', () => {
    full = false
  })
  let quiet = 0
  await until(() => {
    quiet++
    while (!full && sent < 64 * 1024 * 1024) {
      full = !stream.send(junk)
      sent += junk.byteLength
      quiet = 0
    }
    return quiet > 100
  }, 'the sender to be stopped')
  // What both streams' windows hold, and the queue between them.
  assert.ok(sent < 5 * 1024 * 1024, `${sent} bytes were taken`)
  assert.ok((relay.counters().relay?.queued ?? 0) < 1024 * 1024)
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
  // With one peer it has enough: the relay tells it of the other one's own address, which it must not dial before there is a relayed connection.
  const a = await startHidden(t, [relay], { targetPeers: 1, exploreMilliseconds: 3_600_000 })
  const b = await startNode(t, { relay: { use: true } })
  b.answer('echo', (_from, question) => question)
  const heard: string[] = []
  for (const node of [a, b]) {
    const handle = ({ data }: { data: Uint8Array }): void => void (node === b && heard.push(text(data)))
    node.subscribe('news', { validate: () => ({ verdict: 'accept' }), handle })
  }
  await until(() => a.addresses().length > 0, 'a reservation')
  // The other one is dialled by its relayed address first, as if its own were not known.
  const relayed = a.addresses()[0] as string
  const opened: string[] = []
  b.host.addEventListener('connection:open', ({ detail }) => {
    if (detail.remotePeer.toString() === a.self) opened.push(linkKind(detail.remoteAddr))
  })
  let dialled = false
  const dial = (): Promise<unknown> => b.dial(relayed).then(() => (dialled = true), dial)
  void dial()
  await until(() => dialled && a.connected().includes(b.self), 'the dial through the relay')
  assert.equal(opened[0], 'relay')
  // Questions without a pause, over both lanes: none is lost on the way from one connection to the other.
  let asked = 0
  let moved = false
  const asking = ['small', 'large'].map(async (size) => {
    while (!moved || asked < 20) {
      const maxAnswer = size === 'large' ? 1024 * 1024 : 1024
      assert.equal(text(await a.ask(b.self, 'echo', bytes(size), { maxAnswer, timeout: 30_000 })), size)
      asked++
      await delay(10)
    }
  })
  await until(() => kinds(a, b).join() === 'direct' && kinds(b, a).join() === 'direct', 'the direct connection alone')
  moved = true
  await Promise.all(asking)
  // The router has its streams on the direct connection too.
  await until(() => {
    void a.publish('news', bytes('again'))
    return heard.length > 0
  }, 'news over the direct connection')
})

test('two nodes behind relays connect straight over WebRTC', async (t) => {
  const relay = await startNode(t, { relay: { serve: true } })
  const webrtc = { stun: [] }
  const [a, b] = await Promise.all([startHidden(t, [relay], { webrtc }), startHidden(t, [relay], { webrtc })])
  await until(() => kinds(a, b).join() === 'webrtc' && kinds(b, a).join() === 'webrtc', 'a WebRTC connection alone')
  b.answer('echo', (_from, question) => question)
  assert.equal(text(await a.ask(b.self, 'echo', bytes('straight'))), 'straight')
})
