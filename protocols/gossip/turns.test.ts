import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Member } from '../ports.ts'
import { seededRandom } from '../random.ts'
import { Inbox } from './inbox.ts'
import { faultyOf, nextTurn, referenceTurn } from './turns.ts'

const members = (...rounds: number[]): Member[] =>
  rounds.map((round, i) => ({ peer: `p${i}`, seenAt: 0, status: { phase: 'training', round } }) as Member)
const nothing = new Map<string, number>()

test('a share of the peers counts as hostile, and one from four on', () => {
  const of = (share: number): number[] => [1, 3, 4, 5, 6, 8, 9, 12, 15, 16].map((peers) => faultyOf(peers, share))
  assert.deepEqual(of(1 / 3), [0, 0, 1, 1, 2, 2, 3, 4, 5, 5])
  assert.deepEqual(of(0.2), [0, 0, 1, 1, 1, 1, 1, 2, 3, 3])
  assert.deepEqual(of(0), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
})

test('a peer goes one turn ahead of the middle one, jumps to it from behind, and sits out when it is further', () => {
  const at = (own: number, ...others: number[]) => nextTurn(own, referenceTurn(members(...others), nothing))
  assert.equal(at(7), 8, 'alone')
  assert.equal(at(7, 7, 7, 7), 8)
  assert.equal(at(8, 7, 7, 7), undefined)
  assert.equal(at(3, 9, 9, 10), 9)
  assert.equal(at(7, 7, 7, 2 ** 40), 8, 'one liar takes nobody along')
  assert.equal(at(7, 0, 7, 7), 8, 'and holds nobody back')
  assert.equal(at(500, 480, 480, 480), 481, 'a clock that is alone with its time is put back')
  assert.equal(at(500, 480, 480, 500), undefined, 'but not where others have the same')
  assert.equal(
    nextTurn(5, referenceTurn(members(3), new Map([['p0', 6]]))),
    6,
    'what was heard is newer than heartbeats',
  )
})

test('whatever a few of them do, the turns of honest peers only grow while they hear each other', () => {
  const random = seededRandom('turns')
  const honest = Array.from({ length: 5 }, () => 1 + random.integer(3))
  const said = [...honest]
  for (let round = 0; round < 2_000; round++) {
    // A heartbeat.
    const beats = random.integer(5)
    said[beats] = honest[beats]!
    const i = random.integer(5)
    // Now and then a message gets lost and an old turn is known.
    const others = [...said.filter((_, k) => k !== i), random.integer(2 ** 30)]
    const next = nextTurn(honest[i]!, referenceTurn(members(...others), nothing))
    if (next !== undefined) {
      assert.ok(next > honest[i]!)
      honest[i] = next
      if (random.uniform() > 0.2) {
        said[i] = next
      }
    }
  }
  assert.ok(Math.max(...honest) - Math.min(...honest) <= 8 && Math.min(...honest) > 100, `${honest}`)
})

test('the inbox holds one fragment of a peer and turn, as many as there are slots, and gives all slots back', async () => {
  const inbox = new Inbox(16, seededRandom('inbox'))
  const taken = new Set<number>()
  for (let i = 0; i < 40; i++) {
    inbox.claim(3, `p${i}`)
    assert.equal(inbox.claim(3, 'p0') === undefined, true, 'twice')
  }
  for (const entry of inbox.take(3).all) {
    taken.add(entry.slot)
    inbox.release([entry])
  }
  assert.equal(taken.size, 15, 'a group is bounded')
  for (let turn = 10; turn < 100; turn++) {
    assert.ok(inbox.claim(turn, 'p1') !== undefined, 'older groups make room')
  }
  assert.ok(inbox.turns().length <= 16)
  for (const turn of inbox.turns()) {
    inbox.release(inbox.take(turn).all)
  }
  let slow: () => void = () => {}
  const entries = Array.from({ length: 15 }, (_, i) => inbox.claim(200, `q${i}`)!)
  entries[0]!.end = () =>
    new Promise<void>((resolve) => {
      slow = resolve
    })
  inbox.release(inbox.take(200).all)
  const after = Array.from({ length: 15 }, (_, i) => inbox.claim(201, `q${i}`)?.slot)
  assert.ok(!after.includes(entries[0]!.slot), 'what still works on a slot keeps it')
  inbox.release(inbox.take(201).all)
  slow()
  await new Promise((resolve) => setImmediate(resolve))
  const all = [0, 1].flatMap((turn) => Array.from({ length: 8 }, (_, i) => inbox.claim(300 + turn, `q${i}`)?.slot))
  assert.equal(new Set(all).size, 16)
})

test('who sends first has no better chance of a place in a full group', () => {
  let early = 0
  for (let seed = 0; seed < 60; seed++) {
    const inbox = new Inbox(16, seededRandom('dice', seed))
    for (let i = 0; i < 45; i++) {
      inbox.claim(1, `p${i}`)
    }
    early += inbox.take(1).all.filter(({ peer }) => Number(peer.slice(1)) < 15).length
  }
  // 300 expected of 900, deviation about 14.
  assert.ok(early > 240 && early < 360, `${early}`)
})
