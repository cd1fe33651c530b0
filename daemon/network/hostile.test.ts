/** Peers that pass the handshakes and then send what no honest peer sends. None of it may end the daemon, or make it hold more and more. */
import '../shims.ts'
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { Stream } from '@libp2p/interface'
import { ASK_PROTOCOL, MAX_STREAMS_PER_PEER } from './ask.ts'
import { ANSWER, CANCEL, encodeHead, FAILURE, MAX_ANSWER, MAX_QUESTION, QUESTION } from './frames.ts'
import { topicName } from './gossip.ts'
import { LANES, READY } from './lane.ts'
import {
  codeOf,
  MANY_NEWCOMERS,
  RUN,
  reasons,
  startNode,
  startPair,
  startSwarm,
  type TestNode,
  until,
  watchRejections,
} from './testing.ts'

const EMPTY = new Uint8Array(0)
const CONTROL = Uint8Array.of(LANES.control.mark)

/** A fresh stream to the victim, opened by hand; it is ready when the promise resolves. */
async function open(attacker: TestNode, victim: TestNode): Promise<Stream> {
  const stream = await attacker.host.dialProtocol(victim.host.peerId, ASK_PROTOCOL)
  let ready = false
  stream.addEventListener('message', () => {
    ready = true
  })
  await until(() => ready || stream.status !== 'open', 'the ready byte')
  return stream
}

/** Replaces the attacker's answering end for new streams; its victim's bulk lane is not open yet and so will meet it. */
async function answerWith(attacker: TestNode, evil: (stream: Stream) => void): Promise<void> {
  await attacker.host.unhandle(ASK_PROTOCOL)
  await attacker.host.handle(ASK_PROTOCOL, evil)
}

async function unharmed(t: TestContext, victim: TestNode, found: unknown[]): Promise<void> {
  await delay(20)
  assert.deepEqual(found, [])
  assert.equal(victim.asks.buffered, 0)
  t.diagnostic(`rejected: ${JSON.stringify(victim.counters().rejected)}`)
}

const attacks: [string, (stream: Stream) => void | Promise<void>, string | undefined][] = [
  ['a lane that does not exist', (stream) => void stream.send(Uint8Array.of(0xff)), 'malformed-frame'],
  [
    'random bytes',
    (stream) => void stream.send(Buffer.concat([CONTROL, randomBytes(500).fill(0xee, 0, 1)])),
    'malformed-frame',
  ],
  [
    'a question of 4 GiB',
    (stream) => void stream.send(Buffer.concat([CONTROL, encodeHead(QUESTION, 1, 0xffff_ffff, 'echo')])),
    'too-large',
  ],
  [
    'a question a byte too long',
    (stream) => void stream.send(Buffer.concat([CONTROL, encodeHead(QUESTION, 1, MAX_QUESTION + 1, 'echo')])),
    'too-large',
  ],
  [
    'an answer to nothing',
    (stream) => void stream.send(Buffer.concat([CONTROL, encodeHead(ANSWER, 1, 10)])),
    'malformed-frame',
  ],
  [
    'one id twice',
    (stream) =>
      void stream.send(Buffer.concat([CONTROL, ...[1, 1].map((id) => encodeHead(QUESTION, id, 0, 'hang', 9))])),
    'malformed-frame',
  ],
  [
    'bulk on the control lane',
    (stream) => void stream.send(Buffer.concat([CONTROL, encodeHead(QUESTION, 1, 0, 'echo', MAX_ANSWER)])),
    'malformed-frame',
  ],
  [
    'more questions at once than the lane has',
    (stream) => {
      const ids = Array.from({ length: LANES.control.depth + 1 }, (_, id) => id)
      stream.send(Buffer.concat([CONTROL, ...ids.map((id) => encodeHead(QUESTION, id, 0, 'hang', 9))]))
    },
    'too-many-questions',
  ],
  [
    'cancels of nothing',
    (stream) => void stream.send(Buffer.concat([CONTROL, ...[1, 2, 3].map((id) => encodeHead(CANCEL, id, 0))])),
    undefined,
  ],
  ['a reset before the lane', (stream) => stream.abort(new Error('reset')), undefined],
  [
    'a reset in the middle of a question',
    async (stream) => {
      stream.send(Buffer.concat([CONTROL, encodeHead(QUESTION, 1, 5_000, 'echo'), new Uint8Array(100)]))
      await delay(20)
      stream.abort(new Error('reset'))
    },
    undefined,
  ],
  [
    'a reset while the answer is made',
    async (stream) => {
      stream.send(Buffer.concat([CONTROL, encodeHead(QUESTION, 1, 0, 'hang', 9)]))
      await delay(20)
      stream.abort(new Error('reset'))
    },
    undefined,
  ],
  [
    'an end of writing while the answer is made',
    async (stream) => {
      stream.send(Buffer.concat([CONTROL, encodeHead(QUESTION, 1, 0, 'hang', 9)]))
      await stream.close()
    },
    undefined,
  ],
]

for (const [name, attack, reason] of attacks) {
  test(`an asker sends ${name}`, async (t) => {
    const found = watchRejections(t)
    const [attacker, victim] = await startPair(t)
    victim.answer('echo', (_from, question) => question)
    let answering = 0
    victim.answer('hang', (_from, _question, signal) => {
      answering++
      return new Promise((_, reject) =>
        signal.addEventListener('abort', () => {
          answering--
          reject(signal.reason)
        }),
      )
    })
    const stream = await open(attacker, victim)
    await attack(stream)
    if (reason !== undefined) {
      await until(() => reasons(victim, attacker.self).includes(reason), reason)
      await until(() => stream.status !== 'open', 'the stream to be reset')
    } else {
      await delay(30)
      stream.abort(new Error('done'))
    }
    await until(() => victim.asks.buffered === 0, 'everything to be let go')
    await until(() => answering === 0, 'the answerers to hear that nobody waits for them')
    await unharmed(t, victim, found)
  })
}

const answers: [string, (stream: Stream) => void | Promise<void>, string, string | undefined][] = [
  ['no ready byte but another', (stream) => void stream.send(Uint8Array.of(7)), 'peer-unreachable', undefined],
  ['a reset at once', (stream) => stream.abort(new Error('reset')), 'peer-unreachable', undefined],
  ['an end of writing at once', (stream) => stream.close(), 'peer-unreachable', undefined],
  [
    'random bytes',
    (stream) => void stream.send(Buffer.concat([Uint8Array.of(READY), Buffer.alloc(99, 0xee)])),
    'peer-unreachable',
    'malformed-frame',
  ],
  [
    'an answer unasked',
    (stream) => void stream.send(Buffer.concat([Uint8Array.of(READY), encodeHead(ANSWER, 77, MAX_ANSWER)])),
    'peer-unreachable',
    'malformed-frame',
  ],
  [
    'a question instead',
    (stream) => void stream.send(Buffer.concat([Uint8Array.of(READY), encodeHead(QUESTION, 1, 0, 'echo')])),
    'peer-unreachable',
    'malformed-frame',
  ],
  [
    'an answer longer than asked for',
    afterQuestion((stream) => void stream.send(encodeHead(ANSWER, 1, 200_001))),
    'answer-too-large',
    'too-large',
  ],
  [
    'a failure with no code',
    afterQuestion((stream) => void stream.send(encodeHead(FAILURE, 1, 3))),
    'peer-unreachable',
    'malformed-frame',
  ],
  [
    'half an answer and a reset',
    afterQuestion(async (stream) => {
      stream.send(Buffer.concat([encodeHead(ANSWER, 1, 1_000), new Uint8Array(500)]))
      await delay(20)
      stream.abort(new Error('reset'))
    }),
    'peer-unreachable',
    undefined,
  ],
  [
    'half an answer and nothing more',
    afterQuestion((stream) => void stream.send(Buffer.concat([encodeHead(ANSWER, 1, 1_000), new Uint8Array(500)]))),
    'ask-timeout',
    undefined,
  ],
]

/** Behaves until the question has come. */
function afterQuestion(evil: (stream: Stream) => void | Promise<void>): (stream: Stream) => void {
  return (stream) => {
    let taken = 0
    stream.addEventListener('message', (event) => {
      const before = taken
      taken += event.data.byteLength
      if (before <= 1 && taken > 1) void evil(stream)
    })
    stream.send(Uint8Array.of(READY))
  }
}

for (const [name, evil, code, reason] of answers) {
  test(`an answering end gives ${name}`, async (t) => {
    const found = watchRejections(t)
    const [attacker, victim] = await startPair(t)
    await answerWith(attacker, evil)
    assert.equal(
      await codeOf(
        victim.ask(attacker.self, 'echo', EMPTY, {
          maxAnswer: 200_000,
          timeout: code === 'ask-timeout' ? 1_000 : 30_000,
        }),
      ),
      code,
    )
    if (reason !== undefined) await until(() => reasons(victim, attacker.self).includes(reason), reason)
    await unharmed(t, victim, found)
  })
}

test('one peer cannot hold more streams than its share', async (t) => {
  const found = watchRejections(t)
  const [attacker, victim] = await startPair(t)
  const streams = await Promise.all(Array.from({ length: 20 }, () => open(attacker, victim).catch(() => undefined)))
  const alive = (): number => streams.filter((stream) => stream?.status === 'open').length
  await until(() => alive() <= MAX_STREAMS_PER_PEER, 'the surplus to be reset')
  await unharmed(t, victim, found)
})

test('five malformed frames are a ban, and the others of the swarm are served on', async (t) => {
  const found = watchRejections(t)
  const swarm = await startSwarm(t, 3, { limits: MANY_NEWCOMERS })
  const [victim, attacker, friend] = swarm as [TestNode, TestNode, TestNode]
  victim.answer('echo', (_from, question) => question)
  for (let at = 0; at < 5 && victim.bans().length === 0; at++) {
    try {
      const stream = await open(attacker, victim)
      stream.send(Uint8Array.of(0xff))
    } catch {
      // It has been disconnected already.
    }
    await delay(50)
  }
  await until(() => victim.bans().some((ban) => ban.peer === attacker.self), 'the ban')
  await until(() => !victim.connected().includes(attacker.self), 'the disconnection')
  assert.deepEqual([...(await friend.ask(victim.self, 'echo', Uint8Array.of(1)))], [1])
  await unharmed(t, victim, found)
})

test('who was thrown out finds no fresh identity let in from its address at once, but whom the victim goes to', async (t) => {
  const found = watchRejections(t)
  const [victim, attacker] = (await startSwarm(t, 2)) as [TestNode, TestNode]
  const stream = await open(attacker, victim)
  stream.send(Uint8Array.of(0xff))
  await until(() => !victim.connected().includes(attacker.self), 'the disconnection')
  const fresh = await startNode(t)
  await assert.rejects(fresh.dial(victim.addresses()[0] as string))
  assert.equal(victim.counters().rejected['connection-rate'], 1)
  assert.equal(await victim.dial(fresh.addresses()[0] as string), fresh.self)
  await unharmed(t, victim, found)
})

test('garbage on the socket, and gossip of unknown topics, harm nobody', async (t) => {
  const found = watchRejections(t)
  const [attacker, victim] = await startPair(t)
  const port = Number(/tcp\/(\d+)/.exec(victim.addresses()[0] as string)?.[1])
  for (let at = 0; at < 10; at++) {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write(randomBytes(1_000))
    setTimeout(() => socket.destroy(), 20 * at)
  }
  let heard = 0
  victim.subscribe('news', { validate: () => ({ verdict: 'accept' }), handle: () => void heard++ })
  for (let at = 0; at < 200; at++) attacker.host.services.pubsub.subscribe(`stranger-${at}`)
  await until(() => attacker.subscribers('news').includes(victim.self), 'the subscription')
  await attacker.host.services.pubsub.publish('stranger-1', new Uint8Array(100))
  await attacker.host.services.pubsub.publish(topicName(RUN, 'news'), new Uint8Array(70_000))
  await attacker.publish('news', new Uint8Array(1))
  await until(() => heard === 1, 'the one good message')
  assert.deepEqual(victim.host.services.pubsub.getSubscribers('stranger-1'), [])
  assert.deepEqual(reasons(victim, attacker.self), ['invalid-message'])
  await unharmed(t, victim, found)
})
