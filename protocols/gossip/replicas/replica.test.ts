import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Fragment } from '../plan.ts'
import type { Difference } from './messages.ts'
import { neighboursOf } from './neighbours.ts'
import { Replica } from './replica.ts'

const FRAGMENTS = [0, 1, 2].map((index): Fragment => ({ index, start: 0, end: 256, bytes: 8, inline: true }))

const difference = (sequence: number, generation = 1): Difference => ({
  turn: 1,
  step: 1,
  generation,
  sequence,
  energy: 0,
  bytes: new Uint8Array(8),
})

/** A replica that began at the common start. */
function following(): Replica {
  const replica = new Replica('a', 0, FRAGMENTS.length)
  replica.take(difference(1), FRAGMENTS[0]!)
  assert.ok(replica.fresh)
  replica.fresh = false
  return replica
}

test('whatever is lost, doubled and overtaken: each difference is added once, in order, or the fragment is fetched', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ fragment: fc.nat(2), sequence: fc.nat(12), when: fc.nat(3) })), (events) => {
      const replica = following()
      const added = [0, 0, 0]
      let now = 0
      const drain = (): void => {
        for (let batch = replica.next(2); batch.length > 0; batch = replica.next(2)) {
          for (const each of batch) {
            // A copy of what is being added must not wait for ever.
            replica.take(difference(each.sequence), each.fragment)
            assert.equal(each.sequence, added[each.fragment.index]! + 1)
            added[each.fragment.index] = each.sequence
            replica.followed(1, each)
          }
        }
      }
      drain()
      for (const { fragment, sequence, when } of events) {
        replica.take(difference(sequence), FRAGMENTS[fragment]!)
        if (when > 0) drain()
        now += when
      }
      drain()
      replica.expire(now, 1_000)
      replica.expire(now + 1_000, 1_000)
      for (;;) {
        const stale = replica.stale()
        if (stale === undefined) break
        added[stale] = 20
        replica.landed(stale, 1, 20)
      }
      assert.ok(FRAGMENTS.every(({ index }) => replica.isReady(index)))
      // All that was ever taken is contained in what there is now, or can be added.
      for (const { fragment, sequence } of events) {
        assert.ok(added[fragment]! >= sequence)
      }
    }),
    { seed: 1, numRuns: 300 },
  )
})

test('another generation makes all that is known worthless, and the first one begins at the common start only once', () => {
  const replica = following()
  const [first] = replica.next(8)
  replica.take(difference(5, 2), FRAGMENTS[1]!)
  // What was under way belongs to the replica that is no more.
  replica.followed(1, first!)
  assert.ok(FRAGMENTS.every(({ index }) => !replica.isReady(index)))
  assert.equal(replica.stale(), 0)
  replica.landed(1, 2, 4)
  assert.deepEqual(
    replica.next(8).map(({ sequence }) => sequence),
    [5],
  )
  replica.take(difference(1, 1), FRAGMENTS[0]!)
  assert.ok(!replica.fresh)
  assert.equal(replica.stale(), 0)
})

test('the differences that wait are bounded; what was dropped is fetched', () => {
  const replica = following()
  replica.next(8)
  for (let sequence = 3; sequence < 100; sequence++) {
    replica.take(difference(sequence), FRAGMENTS[2]!)
  }
  assert.equal(replica.next(8).length, 0)
  replica.landed(2, 1, 80)
  assert.ok(!replica.isReady(2))
  let count = 0
  for (let batch = replica.next(8); batch.length > 0; batch = replica.next(8)) {
    count += batch.length
    for (const each of batch) replica.followed(1, each)
  }
  assert.equal(count, 0)
  replica.expire(0, 10)
  replica.expire(10, 10)
  assert.equal(replica.stale(), 2)
})

test('who follows whom: symmetric, connected, sparse, and little changes when one leaves', () => {
  for (const size of [1, 2, 3, 5, 6, 8, 30]) {
    const peers = Array.from({ length: size }, (_, i) => `peer-${i}`)
    for (const count of [2, 4, 6]) {
      const graph = new Map(peers.map((peer) => [peer, neighboursOf('run', peer, peers, count)]))
      const reached = new Set([peers[0]!])
      for (const peer of reached) {
        const neighbours = graph.get(peer)!
        assert.ok(neighbours.length <= count && !neighbours.includes(peer))
        for (const other of neighbours) {
          assert.ok(graph.get(other)!.includes(peer), 'symmetric')
          reached.add(other)
        }
      }
      assert.equal(reached.size, size, `${size} peers with ${count} neighbours are connected`)
      if (size > 20) {
        const rest = peers.slice(1)
        const changed = rest.filter((peer) => neighboursOf('run', peer, rest, count).join() !== graph.get(peer)!.join())
        assert.ok(changed.length <= count, `${changed.length} others have new neighbours`)
      }
    }
  }
  const peers = Array.from({ length: 20 }, (_, i) => `peer-${i}`)
  assert.notDeepEqual(neighboursOf('run', 'peer-0', peers, 4), neighboursOf('other', 'peer-0', peers, 4))
})
