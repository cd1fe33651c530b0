/** One real node against a peer that sends gossip without measure, and against bytes that mean nothing, on every protocol it answers. */
import '../shims.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { Stream } from '@libp2p/interface'
import { seededRandom } from '../../protocols/index.ts'
import { ASK_PROTOCOL } from './ask.ts'
import { FLOOD_LIMITS } from './flood.ts'
import { encodeHead, QUESTION } from './frames.ts'
import { HELLO } from './hello.ts'
import { LANES } from './lane.ts'
import {
  codeOf,
  MANY_NEWCOMERS,
  reasons,
  startNode,
  startPair,
  startSwarm,
  type TestNode,
  until,
  watchRejections,
} from './testing.ts'

const ROUTER = '/meshsub/1.2.0'

const streamTo = (from: TestNode, to: TestNode, protocol: string): Promise<Stream> =>
  from.host.dialProtocol(to.host.peerId, protocol, { runOnLimitedConnection: true })

test('who floods the router with frames is disconnected, and the others are heard on', async (t) => {
  const found = watchRejections(t)
  const [victim, attacker, friend] = (await startSwarm(t, 3)) as [TestNode, TestNode, TestNode]
  const heard: string[] = []
  const note = { validate: () => ({ verdict: 'accept' as const }), handle: () => void heard.push('news') }
  victim.subscribe('news', note)
  friend.subscribe('news', note)
  await until(() => friend.subscribers('news').includes(victim.self), 'the subscription')
  const stream = await streamTo(attacker, victim, ROUTER)
  // A frame of an empty message, many at a time.
  const frames = new Uint8Array(2 * (FLOOD_LIMITS.frames.burst + 3_000))
  for (let at = 0; at < frames.length; at += 2) frames.set([1, 0x20], at)
  stream.send(frames)
  await until(() => reasons(victim, attacker.self).includes('rate-limit'), 'the refusal')
  await until(() => victim.seen.some((one) => one.kind === 'disconnected' && one.peer === attacker.self), 'the end')
  await friend.publish('news', Uint8Array.of(1))
  await until(() => heard.length === 1, 'the news')
  assert.equal(victim.standing(attacker.self).refused['rate-limit'], 1)
  assert.ok(victim.standing(attacker.self).score < -20)
  assert.deepEqual(found, [])
})

test('so is who floods it with subscriptions', async (t) => {
  const [attacker, victim] = await startPair(t)
  const stream = await streamTo(attacker, victim, ROUTER)
  // Frames of fifty subscriptions to topics of one letter.
  const one = [0x0a, 5, 0x08, 1, 0x12, 1, 0x61]
  const frame = Uint8Array.from([0xde, 0x02, ...Array.from({ length: 50 }, () => one).flat()])
  assert.equal(frame.length, 2 + 0x5e + 0x80 * 2)
  for (let at = 0; at < FLOOD_LIMITS.subscriptions.burst / 50 + 2; at++) stream.send(frame)
  await until(() => reasons(victim, attacker.self).includes('rate-limit'), 'the refusal')
  await until(() => !victim.connected().includes(attacker.self), 'the end')
})

test('a frame of gossip longer than allowed is refused by its length', async (t) => {
  const [attacker, victim] = await startPair(t)
  victim.subscribe('news', { validate: () => ({ verdict: 'accept' }), handle: () => {} })
  await until(() => attacker.subscribers('news').includes(victim.self), 'the subscription')
  const stream = await streamTo(attacker, victim, ROUTER)
  stream.send(Uint8Array.of(0x80, 0x80, 0x80, 0x80, 0x01)) // 256 MiB
  await until(() => reasons(victim, attacker.self).includes('too-large'), 'the refusal')
})

test('bytes that mean nothing, on every protocol and cut anywhere, never end the node', async (t) => {
  const found = watchRejections(t)
  const random = seededRandom('flood.test')
  const [victim, friend] = await startPair(t, {
    rates: { perPeer: 10_000, perPeerBurst: 10_000 },
    limits: MANY_NEWCOMERS,
  })
  victim.answer('echo', (_from, question) => question)
  victim.subscribe('news', { validate: () => ({ verdict: 'accept' }), handle: () => {} })
  const protocols = victim.host.getProtocols()
  assert.ok([ASK_PROTOCOL, ROUTER].every((one) => protocols.includes(one)))
  const bytes = (count: number): Uint8Array => Uint8Array.from({ length: count }, () => random.integer(256))
  const starts: (() => Uint8Array)[] = [
    () => bytes(1 + random.integer(200)),
    // A hello, a question and a frame of the router that begin well.
    () => {
      const body = bytes(random.integer(300))
      const head = encodeHead(QUESTION, random.integer(99), body.length, random.integer(2) === 0 ? HELLO : 'echo', 99)
      return Buffer.concat([Uint8Array.of(LANES.control.mark), head, body])
    },
    () => Buffer.concat([Uint8Array.of(5 + random.integer(90)), bytes(random.integer(100))]),
  ]
  for (let round = 0; round < 6; round++) {
    // A fresh identity each: the last one may be banned by now.
    const attacker = await startNode(t, { bootstrap: victim.addresses() })
    await until(() => attacker.connected().includes(victim.self), 'the connection')
    for (let at = 0; at < 12; at++) {
      try {
        const stream = await streamTo(attacker, victim, protocols[random.integer(protocols.length)] as string)
        const whole = (starts[random.integer(starts.length)] as () => Uint8Array)()
        stream.send(whole.subarray(0, 1 + random.integer(whole.length)))
        const end = random.integer(4)
        if (end === 0) stream.abort(new Error('reset'))
        else if (end === 1) await stream.close()
        else if (end === 2) stream.send(bytes(50))
        // And some are left open.
      } catch {
        // It has been refused or disconnected, as it should be.
      }
    }
    await delay(20)
    await attacker.stop()
  }
  assert.deepEqual([...(await friend.ask(victim.self, 'echo', Uint8Array.of(1)))], [1])
  assert.equal(await codeOf(friend.ask(victim.self, 'nothing', Uint8Array.of(1))), 'unknown-method')
  await until(() => victim.asks.buffered === 0, 'everything to be let go')
  assert.deepEqual(found, [])
  t.diagnostic(JSON.stringify(victim.counters().rejected))
})
