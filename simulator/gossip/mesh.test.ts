import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createMemoryNetwork, type MemoryNetwork, type MemoryNetworkOptions, type MemoryPeer } from '../index.ts'
import { frameBytes, streamCost } from './frames.ts'
import { GOSSIP_DEFAULTS, type GossipParameters } from './parameters.ts'

interface Heard {
  peer: MemoryPeer
  /** Texts in the order in which they came, with the moment. */
  news: { at: number; text: string }[]
}

/** Peers that hear one topic, after their mesh has settled. */
async function settled(
  count: number,
  options: Partial<MemoryNetworkOptions> = {},
): Promise<{ network: MemoryNetwork; heard: Heard[] }> {
  const network = createMemoryNetwork({ seed: 1, latency: [20, 30], gossip: 'mesh', ...options })
  const heard = Array.from({ length: count }, () => hear(network, network.join()))
  await network.clock.advance(5_000)
  return { network, heard }
}

function hear(network: MemoryNetwork, peer: MemoryPeer): Heard {
  const entry: Heard = { peer, news: [] }
  peer.subscribe('news', {
    validate: () => ({ verdict: 'accept' }),
    handle: ({ data }) => entry.news.push({ at: network.clock.now(), text: new TextDecoder().decode(data) }),
  })
  return entry
}

const texts = ({ news }: Heard): string[] => news.map(({ text }) => text).sort()
const say = (peer: MemoryPeer, text: string): Promise<number> => peer.publish('news', new TextEncoder().encode(text))
const total = (heard: readonly Heard[], of: (peer: MemoryPeer) => number): number =>
  heard.reduce((sum, { peer }) => sum + of(peer), 0)

test('every message reaches everybody once, hop by hop', async () => {
  const { network, heard } = await settled(60)
  const began = network.clock.now()
  for (const { peer } of heard) {
    await say(peer, peer.self)
  }
  await network.clock.advance(2_000)
  for (const entry of heard) {
    const others = heard.map(({ peer }) => peer.self).filter((name) => name !== entry.peer.self)
    assert.deepEqual(texts(entry), others.sort())
  }
  // Sixty peers of degree 4 to 12 are two to four links apart; a link takes 20 to 30 ms.
  const first = total(heard, ({ gossip }) => gossip.first)
  const hops = total(heard, ({ gossip }) => gossip.firstHops) / first
  assert.ok(hops > 1.5 && hops < 3, `${hops} hops`)
  const delay = heard.flatMap(({ news }) => news).reduce((sum, { at }) => sum + at - began, 0) / first
  assert.ok(delay / hops > 20 && delay / hops < 30, `${delay} ms for ${hops} hops`)
})

test('a message has as many copies as the meshes have links', async () => {
  const degree = 8
  const exact: Partial<GossipParameters> = { degree, degreeLow: degree, degreeHigh: degree, degreeOut: 0 }
  const { network, heard } = await settled(40, { gossip: { ...exact, connections: 39 } })
  // Grafts cross each other and are pruned again; the meshes settle a little below or at the degree.
  await network.clock.advance(120_000)
  for (const { peer } of heard) {
    await say(peer, 'x')
  }
  await network.clock.advance(2_000)
  const copies = total(heard, ({ gossip }) => gossip.first + gossip.duplicates)
  // Everybody but the author sends to all of its mesh less the one it got the message from: n d - (n - 1) copies to n - 1 peers.
  const expected = 40 * (40 * degree - 39)
  assert.ok(Math.abs(copies / expected - 1) < 0.1, `${copies} copies, ${expected} expected`)
})

test('what is lost on the mesh is asked for after a heartbeat', async () => {
  // Three neighbours each: some messages get lost on the way from all of them.
  const thin: Partial<GossipParameters> = { degree: 3, degreeLow: 2, degreeHigh: 4 }
  const lossy = await settled(40, { loss: 0.3, gossip: thin })
  for (const { peer } of lossy.heard) {
    await say(peer, peer.self)
  }
  await lossy.network.clock.advance(10_000)
  const missing = lossy.heard.filter(({ news }) => news.length !== 39)
  assert.deepEqual(
    missing.map(({ peer }) => peer.self),
    [],
  )
  assert.ok(total(lossy.heard, ({ gossip }) => gossip.recovered) > 0)
  // Without IHAVE and IWANT they stay lost: nothing else repairs it.
  const mute = await settled(40, { loss: 0.3, gossip: { ...thin, historyGossip: 0 } })
  for (const { peer } of mute.heard) {
    await say(peer, peer.self)
  }
  await mute.network.clock.advance(10_000)
  assert.ok(mute.heard.some(({ news }) => news.length < 39))
})

test('a partition stops news, and heals', async () => {
  const { network, heard } = await settled(40)
  const names = heard.map(({ peer }) => peer.self)
  network.partition(names.slice(0, 20), names.slice(20))
  await network.clock.advance(3_000)
  await say(heard[0]!.peer, 'apart')
  await network.clock.advance(3_000)
  assert.deepEqual(
    heard.map(({ news }) => news.length),
    [0, ...new Array(19).fill(1), ...new Array(20).fill(0)],
  )
  network.healAll()
  await network.clock.advance(3_000)
  await say(heard[0]!.peer, 'together')
  await network.clock.advance(3_000)
  assert.ok(heard.slice(20).every((entry) => texts(entry).includes('together')))
})

test('halves that have enough connections each find each other again without the first peer', async () => {
  const { network, heard } = await settled(40)
  const names = heard.map(({ peer }) => peer.self)
  // The first peer, to which everyone goes back, stays cut off.
  network.partition(names.slice(1, 20), names.slice(20))
  await network.clock.advance(10_000)
  const halfOf = (name: string): boolean => names.indexOf(name) < 20
  const across = (): number =>
    total(heard, (peer) => peer.connected().filter((other) => halfOf(other) !== halfOf(peer.self)).length)
  assert.equal(across(), 0)
  network.partition(names.slice(1))
  await network.clock.advance(120_000)
  assert.ok(across() > 20, String(across()))
  await say(heard[1]!.peer, 'together')
  await network.clock.advance(5_000)
  assert.ok(heard.slice(1).every((entry) => entry === heard[1] || texts(entry).includes('together')))
})

test('connections that questions made are let go of when they are not used', async () => {
  const { network, heard } = await settled(60)
  const { peer } = heard[5]!
  for (const other of heard) {
    other.peer.answer('echo', (_, question) => question)
  }
  for (const { self } of heard.map((one) => one.peer)) {
    if (self !== peer.self) {
      await network.clock.run(peer.ask(self, 'echo', new Uint8Array(1)))
    }
  }
  await network.clock.advance(2_000)
  assert.ok(peer.connected().length <= 48, String(peer.connected().length))
  await network.clock.advance(90_000)
  assert.ok(peer.connected().length <= 32 && peer.connected().length >= 12, String(peer.connected().length))
})

test('the dead leave the mesh and come back into it', async () => {
  const { network, heard } = await settled(20)
  const dead = heard.slice(0, 8)
  for (const { peer } of dead) {
    peer.kill()
  }
  await say(heard[19]!.peer, 'one')
  await network.clock.advance(5_000)
  assert.ok(dead.every(({ news }) => news.length === 0))
  assert.ok(heard.slice(8, 19).every(({ news }) => news.length === 1))
  const back = dead.map(({ peer }) => {
    peer.revive()
    return hear(network, peer)
  })
  await network.clock.advance(3_000)
  await say(heard[19]!.peer, 'two')
  await network.clock.advance(5_000)
  assert.ok(back.every((entry) => texts(entry).join() === 'two'))
})

test('who left a topic hears no more, and its neighbours mend their meshes', async () => {
  const { network, heard } = await settled(14)
  const stopped: string[] = []
  const stop = network.join('quiet').subscribe('news', {
    validate: () => ({ verdict: 'accept' }),
    handle: ({ from }) => stopped.push(from),
  })
  await network.clock.advance(2_000)
  await say(heard[0]!.peer, 'one')
  await network.clock.advance(1_000)
  assert.equal(stopped.length, 1)
  stop()
  await network.clock.advance(2_000)
  await say(heard[0]!.peer, 'two')
  await network.clock.advance(1_000)
  assert.equal(stopped.length, 1)
  assert.ok(heard.slice(1).every(({ news }) => news.length === 2))
})

test('a rejected message goes no further and is held against who forwarded it', async () => {
  const network = createMemoryNetwork({ seed: 1, gossip: { connections: 1 } })
  const [author, honest, far] = [network.join(), network.join(), network.join()]
  const listen = (peer: MemoryPeer, verdict: 'accept' | 'reject'): void => {
    peer.subscribe('news', {
      validate: () => (verdict === 'accept' ? { verdict } : { verdict, reason: 'no' }),
      handle: () => assert.equal(verdict, 'accept'),
    })
  }
  for (const peer of [author, honest]) {
    listen(peer, 'accept')
  }
  listen(far, 'reject')
  await network.clock.advance(3_000)
  // One connection each leaves a chain, with the second peer or the first in the middle.
  const chain = far.connected()
  assert.equal(chain.length, 1)
  const other = chain[0] === author.self ? honest : author
  await say(other, 'x')
  await network.clock.advance(2_000)
  assert.deepEqual(far.penalties, [{ peer: chain[0], reason: 'no' }])
})

test('peers have some connections only, and a question to another peer makes one', async () => {
  const { network, heard } = await settled(60)
  for (const { peer } of heard) {
    assert.ok(peer.connected().length >= 12 && peer.connected().length <= 48, String(peer.connected().length))
  }
  const { peer } = heard[0]!
  const stranger = network.peers.find((name) => name !== peer.self && !peer.connected().includes(name))!
  network.peer(stranger).answer('echo', (_, question) => question)
  assert.equal((await network.clock.run(peer.ask(stranger, 'echo', new Uint8Array(1)))).length, 1)
  assert.ok(peer.connected().includes(stranger))
  const friend = peer.connected()[0]!
  network.peer(friend).answer('echo', (_, question) => question)
  assert.equal((await network.clock.run(peer.ask(friend, 'echo', new Uint8Array(5)))).length, 5)
})

test('large messages are declined once one copy is there', async () => {
  const copies = async (declineFrom: number): Promise<number> => {
    // A narrow link makes the copies slower than the word that they are not wanted.
    const { network, heard } = await settled(30, { bandwidth: 100_000, gossip: { declineFrom } })
    await heard[0]!.peer.publish('news', new Uint8Array(32 * 1024))
    await network.clock.advance(20_000)
    assert.equal(
      total(heard, ({ gossip }) => gossip.first),
      29,
    )
    return total(heard, ({ gossip }) => gossip.first + gossip.duplicates)
  }
  const [declined, plain] = [await copies(16 * 1024), await copies(64 * 1024)]
  assert.ok(declined < plain, `${declined} copies against ${plain}`)
})

/** Everything that some chatting peers hear, and every byte. */
async function trace(seed: number): Promise<string> {
  const { network, heard } = await settled(25, { seed, loss: 0.1 })
  for (const { peer } of heard) {
    await say(peer, peer.self)
    await network.clock.advance(7)
  }
  await network.clock.advance(5_000)
  return JSON.stringify(heard.map(({ peer, news }) => [news, peer.sent, peer.received, peer.gossip]))
}

test('a seed repeats everything exactly', async () => {
  const first = await trace(7)
  assert.equal(await trace(7), first)
  assert.notEqual(await trace(8), first)
})

test('every byte is counted, on both sides', async () => {
  const { network, heard } = await settled(20)
  assert.equal(
    total(heard, ({ sent }) => sent),
    total(heard, ({ received }) => received),
  )
  const [a, b] = [heard[0]!.peer, heard[1]!.peer]
  network.partition([a.self, b.self])
  await network.clock.advance(3_000)
  const before = [a.sent, b.received, b.sent, a.received]
  await a.publish('news', new Uint8Array(100))
  await network.clock.advance(5_000)
  const copy = { news: { id: 0, topic: 'news', from: a.self, data: new Uint8Array(100) }, hops: 1 }
  const { frame, acknowledgement } = streamCost(frameBytes({ messages: [copy] }, GOSSIP_DEFAULTS.topicPrefix))
  assert.ok(frame > 300, 'signature, key, topic, ids and framing are more than twice the payload')
  assert.deepEqual(
    [a.sent, b.received, b.sent, a.received].map((count, side) => count - before[side]!),
    [frame, frame, acknowledgement, acknowledgement],
  )
})
