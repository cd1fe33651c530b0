import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Random } from '../../ports.ts'
import { seededRandom, shuffled } from '../../random.ts'
import { type Assignment, assign, type PeerRoles, type Wanted } from './assignment.ts'

const wanted: Wanted = { run: 'run', stages: 6, dataPeers: 1, replicas: 1 }

function peer(name: string, parts: readonly number[] = [], more: Partial<PeerRoles> = {}): PeerRoles {
  return { peer: name, places: 2, holds: parts.map((part) => ({ part, state: 'ready', step: 10 })), ...more }
}

/** A swarm in any state: some parts held once or more, some by nobody, some on their way. */
function randomView(random: Random): { wanted: Wanted; peers: PeerRoles[] } {
  const stages = 1 + random.integer(8)
  const places = 1 + random.integer(3)
  const states = ['ready', 'ready', 'ready', 'taking', 'leaving'] as const
  const peers = Array.from({ length: 1 + random.integer(12) }, (_, index): PeerRoles => {
    const parts = shuffled(
      Array.from({ length: stages }, (__, stage) => stage + 1),
      random,
    ).slice(0, random.integer(places + 1))
    const all = random.uniform() < 0.2 ? [0, ...parts] : parts
    return {
      peer: `peer-${index}`,
      places,
      holds: all.map((part) => ({ part, state: states[random.integer(5)]!, step: random.integer(30) })),
      ...(random.uniform() < 0.5 ? { msPerRow: 1 + random.uniform() * 20 } : {}),
      ...(all.length > 0 && random.uniform() < 0.1 ? { barred: [all[0]!] } : {}),
    }
  })
  const dataPeers = 1 + random.integer(2)
  return { wanted: { run: 'run', stages, dataPeers, replicas: 1 + random.integer(2) }, peers }
}

/** The view after all of it was done. */
function done({ takes, moves, leaves }: Assignment, peers: readonly PeerRoles[]): PeerRoles[] {
  const holds = new Map(peers.map(({ peer: name, holds: held }) => [name, held.map((hold) => ({ ...hold }))]))
  for (const { part, line } of takes) {
    holds.get(line[0]!)!.push({ part, state: 'ready', step: 20 })
  }
  for (const { stage, from, to } of moves) {
    holds.set(
      from,
      holds.get(from)!.filter(({ part }) => part !== stage),
    )
    holds.get(to)!.push({ part: stage, state: 'ready', step: 20 })
  }
  for (const { part, peer: name } of leaves) {
    holds.set(
      name,
      holds.get(name)!.filter((hold) => hold.part !== part),
    )
  }
  return peers.map((each) => ({
    ...each,
    barred: [],
    holds: holds
      .get(each.peer)!
      .flatMap((hold) => (hold.state === 'leaving' ? [] : [{ ...hold, state: 'ready' as const }])),
  }))
}

const isBusy = ({ takes, moves, leaves }: Assignment): boolean => takes.length + moves.length + leaves.length > 0

const holdersOf = (peers: readonly PeerRoles[], part: number): string[] =>
  peers.filter(({ holds }) => holds.some((hold) => hold.part === part)).map((each) => each.peer)

describe('the assignment of roles', () => {
  test('at the start every peer gets one role, while there are roles', () => {
    const peers = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map((name) => peer(name))
    const { takes, moves, leaves, missing } = assign(wanted, peers)
    assert.deepEqual(
      takes.map(({ part }) => part),
      [0, 1, 2, 3, 4, 5, 6],
    )
    assert.equal(new Set(takes.map(({ line }) => line[0])).size, 7)
    assert.deepEqual({ moves, leaves, missing }, { moves: [], leaves: [], missing: [] })
  })

  test('is the same at every peer that sees the same, in whatever order', () => {
    const random = seededRandom('assignment order')
    for (let round = 0; round < 60; round++) {
      const { wanted: any, peers } = randomView(random)
      assert.deepEqual(assign(any, shuffled(peers, random)), assign(any, peers))
    }
  })

  test('gives no role twice, nobody more stages than it has room for, and what is held stays', () => {
    const random = seededRandom('assignment')
    for (let round = 0; round < 150; round++) {
      const { wanted: any, peers } = randomView(random)
      const assignment = assign(any, peers)
      for (const { peer: name, places, holds, barred = [] } of peers) {
        const taken = assignment.takes.filter(({ line }) => line[0] === name).map(({ part }) => part)
        const stages = [...taken, ...holds.map(({ part }) => part)].filter((part) => part > 0)
        assert.equal(new Set(stages).size, stages.length, 'the same stage twice at one peer')
        assert.ok(stages.length <= places, 'more stages than places')
        assert.ok(taken.every((part) => !barred.includes(part)))
      }
      for (const { part } of assignment.takes) {
        const serving = peers.filter(
          ({ holds, barred = [] }) =>
            !barred.includes(part) && holds.some((hold) => hold.part === part && hold.state !== 'leaving'),
        )
        const most = part === 0 ? any.dataPeers : any.replicas
        assert.ok(serving.length < most, 'a role was given away that is held')
      }
      for (const { part, peer: name, stays } of assignment.leaves) {
        assert.ok(stays.length > 0 && !stays.includes(name), `part ${part} would be left alone`)
      }
    }
  })

  test('what was agreed on leads to rest: every role once, and nothing more to do', () => {
    const random = seededRandom('assignment rest')
    for (let round = 0; round < 100; round++) {
      const { wanted: any, peers } = randomView(random)
      let now: PeerRoles[] = peers
      let assignment = assign(any, now)
      for (let step = 0; step < 40 && (step === 0 || isBusy(assignment)); step++) {
        now = done(assignment, now)
        assignment = assign(any, now)
      }
      assert.deepEqual([assignment.takes, assignment.moves, assignment.leaves], [[], [], []])
      if (assignment.missing.length === 0) {
        for (let part = 1; part <= any.stages; part++) {
          const count = holdersOf(now, part).length
          assert.ok(count >= 1 && count <= any.replicas)
        }
        assert.equal(holdersOf(now, 0).length, any.dataPeers)
        const roles = now.map(({ holds }) => holds.length)
        const room = now.filter(({ holds, places }) => holds.filter(({ part }) => part > 0).length < places)
        const most = Math.max(
          ...now.filter(({ holds }) => holds.some(({ part }) => part > 0)).map(({ holds }) => holds.length),
        )
        assert.ok(
          room.every(({ holds }) => most - holds.length <= 1),
          `roles ${roles}`,
        )
      }
    }
  })

  test('a loss moves nothing but the lost role, to a peer with the fewest roles', () => {
    const six = [peer('a', [0]), peer('b', [1]), peer('c', [2]), peer('d', [4]), peer('e', [5, 6]), peer('f')]
    const { takes, moves } = assign(wanted, six)
    assert.deepEqual(
      takes.map(({ part, line }) => [part, line[0]]),
      [[3, 'f']],
    )
    assert.deepEqual(moves, [])
    const full = assign(wanted, six.slice(0, 5))
    assert.deepEqual(
      full.takes.map(({ part }) => part),
      [3],
    )
    assert.ok(['a', 'b', 'c', 'd'].includes(full.takes[0]!.line[0]!))
    assert.equal(full.takes[0]!.line.length, 4, 'whoever has no room is not in line')
  })

  test('among peers with as many roles the faster one is first', () => {
    const peers = [
      peer('a', [0, 1, 2, 4, 5, 6], { places: 8 }),
      peer('b', [], { msPerRow: 40 }),
      peer('c', [], { msPerRow: 2.1 }),
      peer('d', [], { msPerRow: 1.9 }),
      peer('e', [], { msPerRow: 9 }),
    ]
    const line = assign(wanted, peers).takes[0]!.line
    assert.deepEqual(line.slice(2), ['e', 'b', 'a'])
    assert.deepEqual([...line.slice(0, 2)].sort(), ['c', 'd'], 'what differs by less than half does not count')
  })

  test('too few places: what nobody has room for is said', () => {
    const { takes, missing } = assign({ ...wanted, dataPeers: 1 }, [peer('a'), peer('b')])
    assert.deepEqual(
      takes.map(({ part }) => part),
      [0, 1, 2, 3, 4],
    )
    assert.deepEqual(missing, [5, 6])
  })

  test('a spare takes a stage over from the peer with the most roles, once all is calm', () => {
    const peers = [peer('a', [0]), peer('b', [1, 2]), peer('c', [3]), peer('d', [4]), peer('e', [5]), peer('f', [6])]
    assert.deepEqual(assign(wanted, peers).moves, [])
    assert.deepEqual(assign(wanted, [...peers, peer('g')]).moves, [{ stage: 2, from: 'b', to: 'g' }])
    const busy = peer('c', [], { holds: [{ part: 3, state: 'taking', step: 0 }] })
    assert.deepEqual(assign(wanted, [...peers.filter((each) => each.peer !== 'c'), busy, peer('g')]).moves, [])
  })

  test('replicas go to peers without a role, after every stage has a holder', () => {
    const peers = [1, 2, 3, 4, 5, 6, 0].map((part, index) => peer(`p${index}`, [part]))
    const two = { ...wanted, replicas: 2 }
    assert.deepEqual(assign(two, peers).takes, [])
    const { takes } = assign(two, [...peers, peer('x'), peer('y')])
    assert.deepEqual(
      takes.map(({ part }) => part),
      [1, 2],
    )
    assert.equal(new Set(takes.map(({ line }) => line[0])).size, 2)
    const lost = assign(two, [...peers.filter((each) => each.peer !== 'p3'), peer('x'), peer('y')])
    assert.deepEqual(
      lost.takes.map(({ part }) => part),
      [4],
    )
  })

  test('of two holders the one far behind leaves, then the one with more roles', () => {
    const behind = [peer('a', [3]), { ...peer('b'), holds: [{ part: 3, state: 'ready' as const, step: 100 }] }]
    assert.deepEqual(assign(wanted, behind).leaves, [{ part: 3, peer: 'a', stays: ['b'] }])
    const loaded = [peer('a', [3]), peer('b', [3, 4])]
    assert.deepEqual(assign(wanted, loaded).leaves, [{ part: 3, peer: 'b', stays: ['a'] }])
  })

  test('a holder that cannot be used is replaced by another, and leaves', () => {
    const peers = [peer('a', [0]), peer('b', [1, 2, 3], { barred: [3] }), peer('c', [4, 5, 6]), peer('d')]
    assert.deepEqual(
      assign(wanted, peers).takes.map(({ part, line }) => [part, line[0]]),
      [[3, 'd']],
    )
    const after = [...peers.slice(0, 3), peer('d', [3])]
    assert.deepEqual(assign(wanted, after).leaves, [{ part: 3, peer: 'b', stays: ['d'] }])
  })
})
