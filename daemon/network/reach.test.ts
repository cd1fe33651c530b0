import '../shims.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { codeOf, startNode, type TestNode, until } from './testing.ts'

const EMPTY = new Uint8Array(0)

/** Nodes that know the first one's address and want no other connection; resolves when each has that one. */
async function startStar(t: Parameters<typeof startNode>[0], count: number): Promise<TestNode[]> {
  const options = { targetPeers: 1, maxPeers: 2 * count }
  const first = await startNode(t, options)
  const nodes = [first]
  while (nodes.length < count) {
    const node = await startNode(t, { ...options, bootstrap: first.addresses() })
    await until(() => node.connected().length >= 1, 'the first connection')
    nodes.push(node)
  }
  return nodes
}

/** Asks again where there is no connection in time: on a busy machine a handshake of real nodes may take longer than a dial waits. */
async function askPatiently(node: TestNode, peer: string, method: string): Promise<Uint8Array> {
  let answer: Uint8Array | undefined
  let asking = false
  await until(() => {
    if (answer === undefined && !asking) {
      asking = true
      void node
        .ask(peer, method, EMPTY)
        .then(
          (said) => {
            answer = said
          },
          (error) => assert.ok(['peer-unreachable', 'ask-timeout'].includes(error.code), error),
        )
        .finally(() => {
          asking = false
        })
    }
    return answer !== undefined
  }, `an answer of ${peer}`)
  return answer as unknown as Uint8Array
}

test('in a swarm where few are connected with each other, everyone can ask the others', async (t) => {
  const nodes = await startStar(t, 20)
  for (const node of nodes) node.answer('name', () => new TextEncoder().encode(node.self))
  const apart = nodes.filter((node) => node.connected().length < nodes.length - 1)
  assert.ok(apart.length > 10, 'hardly anybody is connected with all')
  // All 380 questions would take the tests too long; these reach from every node to near and far ones.
  for (const [index, node] of nodes.entries()) {
    for (const distance of [1, 4, 9]) {
      const other = nodes[(index + distance) % nodes.length] as TestNode
      assert.equal(new TextDecoder().decode(await askPatiently(node, other.self, 'name')), other.self)
    }
  }
})

test('the address of a peer that nobody told of is asked for', async (t) => {
  const still = { targetPeers: 0, maxPeers: 8 }
  const middle = await startNode(t, still)
  const one = await startNode(t, still)
  await one.dial(middle.addresses()[0] as string)
  // Comes after the first has heard whom the one in the middle knows, and they do not ask again: nobody is wanted.
  const other = await startNode(t, still)
  other.answer('echo', (_from, question) => question)
  await other.dial(middle.addresses()[0] as string)
  await until(() => middle.connected().length === 2, 'two connections')
  assert.ok(!one.connected().includes(other.self))
  assert.deepEqual(await one.ask(other.self, 'echo', Uint8Array.of(7)), Uint8Array.of(7))
  assert.ok(one.connected().includes(other.self))
})

test('who cannot be found is unreachable, in time, and is not dialled for every question', async (t) => {
  const [a, b] = await startStar(t, 2)
  assert.ok(a && b)
  const gone = b.self
  await b.stop()
  await until(() => a.connected().length === 0, 'the disconnection')
  const before = a.counters().dials
  const codes = await Promise.all(Array.from({ length: 50 }, () => codeOf(a.ask(gone, 'echo', EMPTY))))
  assert.deepEqual(new Set(codes), new Set(['peer-unreachable']))
  assert.equal(await codeOf(a.ask(gone, 'echo', EMPTY)), 'peer-unreachable')
  // The peer manager and the bootstrap address dial too, once each at most.
  assert.ok(a.counters().dials - before <= 3, String(a.counters().dials - before))
  assert.equal(await codeOf(a.ask(a.self, 'echo', EMPTY)), 'peer-unreachable')
  const stop = new AbortController()
  const asked = codeOf(a.ask('12D3KooWnobody', 'echo', EMPTY, { signal: stop.signal }))
  stop.abort()
  assert.ok(['aborted', 'peer-unreachable'].includes(await asked))
})

test('who has enough connections gets to know the others little by little', async (t) => {
  const options = { targetPeers: 2, maxPeers: 16, exploreMilliseconds: 200 }
  const meeting = await startNode(t, options)
  const nodes = await Promise.all(
    Array.from({ length: 6 }, () => startNode(t, { ...options, bootstrap: meeting.addresses() })),
  )
  await until(() => nodes.every((node) => node.connected().length >= 2), 'everybody to have enough connections')
  await until(
    () => nodes.every((node) => nodes.every((other) => other === node || node.connected().includes(other.self))),
    'each to have dialled the others',
  )
})

test('a peer with too many connections lets go of those used longest ago', async (t) => {
  const host = await startNode(t, { targetPeers: 1, maxPeers: 3 })
  host.answer('echo', (_from, question) => question)
  const guests: TestNode[] = []
  for (let index = 0; index < 5; index++) {
    const guest = await startNode(t, { targetPeers: 0 })
    await guest.dial(host.addresses()[0] as string)
    assert.deepEqual(await guest.ask(host.self, 'echo', Uint8Array.of(index)), Uint8Array.of(index))
    guests.push(guest)
  }
  await until(() => host.connected().length === 3, 'two to be let go of')
  // The first was there longest; of the others the last ones were used.
  const kept = guests.filter((guest) => host.connected().includes(guest.self))
  assert.ok(kept.includes(guests[0] as TestNode) && kept.includes(guests[4] as TestNode))
})
