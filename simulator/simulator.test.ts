import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type GossipMessage, StarlingError } from '../protocols/index.ts'
import { createMemoryNetwork, createVirtualClock, type MemoryPeer } from './index.ts'

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
const bytes = (words: string): Uint8Array => new TextEncoder().encode(words)
const code = (wanted: string) => (error: unknown) => error instanceof StarlingError && error.code === wanted

test('time moves only when told, in order, and waits for promises', async () => {
  const clock = createVirtualClock()
  const log: string[] = []
  const walk = async (name: string, pause: number): Promise<void> => {
    for (let step = 0; step < 3; step++) {
      await clock.sleep(pause)
      log.push(`${name}@${clock.now()}`)
    }
  }
  const both = Promise.all([walk('a', 10), walk('b', 15)])
  await clock.advance(20)
  assert.deepEqual(log, ['a@10', 'b@15', 'a@20'])
  assert.equal(clock.now(), 20)
  await clock.run(both)
  assert.deepEqual(log, ['a@10', 'b@15', 'a@20', 'b@30', 'a@30', 'b@45'])
})

test('a sleep ends with the reason of its signal, and cancelled sleeps leave no trace', async () => {
  const clock = createVirtualClock()
  const controller = new AbortController()
  const sleep = clock.sleep(1000, controller.signal)
  controller.abort(new Error('enough'))
  await assert.rejects(sleep, /enough/)
  await assert.rejects(clock.sleep(1, controller.signal), /enough/)
  await assert.rejects(
    clock.runUntil(() => false),
    code('simulation-stuck'),
  )
  assert.equal(clock.now(), 0)
  let fired = false
  clock.schedule(5, () => {
    fired = true
  })()
  await clock.advance(10)
  assert.equal(fired, false)
})

test('time stands still while real work is held', async () => {
  const clock = createVirtualClock()
  let finished = -1
  clock.schedule(1, () => {
    void clock.hold(new Promise<void>((resolve) => setTimeout(resolve, 20))).then(() => {
      finished = clock.now()
    })
  })
  await clock.advance(1000)
  assert.equal(finished, 1)
})

test('thousands of sleepers wake in order', async () => {
  const clock = createVirtualClock()
  const woken: number[] = []
  for (let index = 0; index < 500; index++) {
    const at = (index * 7919) % 1000
    clock.schedule(at, () => woken.push(at))
  }
  await clock.advance(1000)
  assert.equal(woken.length, 500)
  assert.deepEqual(
    woken,
    [...woken].sort((a, b) => a - b),
  )
})

/** Everything that happens to four chatting peers. */
async function chat(seed: number): Promise<string[]> {
  const network = createMemoryNetwork({ seed, loss: 0.2 })
  const log: string[] = []
  const peers = [0, 1, 2, 3].map(() => network.join())
  for (const peer of peers) {
    peer.subscribe('news', {
      validate: () => ({ verdict: 'accept' }),
      handle: ({ from, data }) => log.push(`${network.clock.now()} ${from}>${peer.self} ${text(data)}`),
    })
  }
  for (let round = 0; round < 10; round++) {
    for (const peer of peers) {
      await peer.publish('news', bytes(`r${round}`))
    }
    await network.clock.advance(10)
  }
  await network.clock.advance(1000)
  return log
}

test('a seed repeats a run exactly and another seed gives another', async () => {
  const first = await chat(1)
  assert.deepEqual(await chat(1), first)
  assert.notDeepEqual(await chat(2), first)
  // 120 deliveries less a fifth; the bound is five standard deviations.
  assert.ok(first.length > 74 && first.length < 118, String(first.length))
})

function listen(peer: MemoryPeer): GossipMessage[] {
  const heard: GossipMessage[] = []
  peer.subscribe('news', { validate: () => ({ verdict: 'accept' }), handle: (message) => heard.push(message) })
  return heard
}

test('gossip goes around a cut link, and a partition stops it until it heals', async () => {
  const network = createMemoryNetwork({ seed: 1 })
  const [a, b, c] = [network.join('a'), network.join('b'), network.join('c')]
  const heard = [listen(a), listen(b), listen(c)]
  network.cut('a', 'b')
  assert.deepEqual(a.connected(), ['c'])
  assert.equal(await a.publish('news', bytes('one')), 1)
  await network.clock.advance(1000)
  assert.deepEqual(
    heard.map((list) => list.length),
    [0, 1, 1],
  )
  network.partition(['a'], ['b', 'c'])
  assert.equal(await a.publish('news', bytes('two')), 0)
  await b.publish('news', bytes('three'))
  await network.clock.advance(1000)
  assert.deepEqual(
    heard.map((list) => list.length),
    [0, 1, 2],
  )
  network.healAll()
  await a.publish('news', bytes('four'))
  await network.clock.advance(1000)
  assert.deepEqual(
    heard.map((list) => list.length),
    [0, 2, 3],
  )
})

test('ordered delivery keeps what a peer says in order', async () => {
  const network = createMemoryNetwork({ seed: 3, latency: [1, 1000], ordered: true })
  const [a, b] = [network.join(), network.join()]
  const heard = listen(b)
  for (let number = 0; number < 20; number++) {
    await a.publish('news', bytes(String(number)))
  }
  await network.clock.advance(5000)
  assert.deepEqual(
    heard.map(({ data }) => Number(text(data))),
    Array.from({ length: 20 }, (_, index) => index),
  )
})

test('a rejected message is held against its sender', async () => {
  const network = createMemoryNetwork({ seed: 1 })
  const [a, b] = [network.join(), network.join()]
  b.subscribe('news', { validate: () => ({ verdict: 'reject', reason: 'no' }), handle: () => assert.fail('handled') })
  await a.publish('news', bytes('x'))
  await network.clock.advance(100)
  assert.deepEqual(b.penalties, [{ peer: a.self, reason: 'no' }])
  await assert.rejects(a.publish('news', new Uint8Array(64 * 1024 + 1)), code('message-too-large'))
})

test('questions are answered, refused, given up and timed out', async () => {
  const network = createMemoryNetwork({ seed: 1 })
  const { clock } = network
  const [a, b] = [network.join('a'), network.join('b')]
  let given: AbortSignal | undefined
  b.answer('echo', (from, question) => bytes(`${from}: ${text(question)}`))
  b.answer('refuse', () => {
    throw new StarlingError('not-now', 'come back later', {})
  })
  b.answer('break', () => {
    throw new Error('a secret')
  })
  b.answer('hang', (_, __, signal) => {
    given = signal
    return new Promise(() => {})
  })
  b.answer('long', () => new Uint8Array(1000))
  assert.equal(text(await clock.run(a.ask('b', 'echo', bytes('hi')))), 'a: hi')
  await assert.rejects(clock.run(a.ask('b', 'refuse', bytes(''))), code('not-now'))
  await assert.rejects(
    clock.run(a.ask('b', 'break', bytes(''))),
    (error) => code('internal')(error) && !/secret/.test(String(error)),
  )
  await assert.rejects(clock.run(a.ask('b', 'unheard', bytes(''))), code('unknown-method'))
  await assert.rejects(clock.run(a.ask('b', 'long', bytes(''), { maxAnswer: 999 })), code('answer-too-large'))
  await assert.rejects(clock.run(a.ask('c', 'echo', bytes(''))), code('peer-unreachable'))
  const before = clock.now()
  await assert.rejects(clock.run(a.ask('b', 'hang', bytes(''), { timeout: 500 })), code('ask-timeout'))
  assert.equal(clock.now() - before, 500)
  assert.equal(given?.aborted, true)
  const controller = new AbortController()
  const asked = a.ask('b', 'hang', bytes(''), { signal: controller.signal })
  await clock.advance(100)
  controller.abort()
  await assert.rejects(asked, code('aborted'))
  assert.equal(given?.aborted, true)
  assert.equal(a.outstanding, 0)
})

test('killing a peer fails what it was asked and what it asked; it comes back empty', async () => {
  const network = createMemoryNetwork({ seed: 1 })
  const { clock } = network
  const [a, b] = [network.join('a'), network.join('b')]
  let changes = 0
  a.onConnections(() => changes++)
  b.answer('hang', () => new Promise(() => {}))
  a.answer('hang', () => new Promise(() => {}))
  const there = a.ask('b', 'hang', bytes(''))
  const back = b.ask('a', 'hang', bytes(''))
  await clock.advance(60)
  b.kill()
  await assert.rejects(there, code('peer-unreachable'))
  await assert.rejects(back, code('peer-unreachable'))
  await clock.advance(0)
  assert.equal(changes, 1)
  assert.deepEqual(a.connected(), [])
  b.revive()
  assert.deepEqual(a.connected(), ['b'])
  await assert.rejects(clock.run(a.ask('b', 'hang', bytes(''))), code('unknown-method'))
  b.freeze()
  await assert.rejects(clock.run(a.ask('b', 'hang', bytes(''), { timeout: 300 })), code('ask-timeout'))
})

test('a signature is of one peer over one message, and the same in every run', async () => {
  const [network, again] = [createMemoryNetwork({ seed: 1 }), createMemoryNetwork({ seed: 1 })]
  const [a, b] = [network.join('a'), network.join('b')]
  const signature = await a.sign(bytes('one'))
  assert.equal(signature.byteLength, 64)
  assert.deepEqual(await again.join('a').sign(bytes('one')), signature)
  assert.ok(await b.verify('a', bytes('one'), signature))
  assert.equal(await b.verify('a', bytes('two'), signature), false)
  assert.equal(await b.verify('b', bytes('one'), signature), false)
  assert.equal(await b.verify('nobody', bytes('one'), signature), false)
  assert.equal(await b.verify('a', bytes('one'), signature.subarray(1)), false)
})
