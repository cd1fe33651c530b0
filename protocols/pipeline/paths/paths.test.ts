import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  chosenPaths,
  naturalOrder,
  plannedPaths,
  randomPaths,
  replicaFor,
  sequentialPaths,
  twinOrder,
  twinPaths,
} from './index.ts'
import type { Path, PathGenerator, Reachable } from './types.ts'

/** Every stage has these holders. */
const held = (peers: Record<number, string[]>, load: Record<string, number> = {}): Reachable => ({
  ready: (stage) => peers[stage] ?? [],
  dataPeers: () => ['d', 'e'],
  load: (peer) => load[peer] ?? 0,
})

const pathOf = (paths: PathGenerator, microbatch: number, reachable: Reachable, step = 1): Path => {
  const found = paths.path({ step, attempt: 1, microbatch }, reachable)
  assert.ok('path' in found)
  return found.path
}

const stagesOf = (path: Path): number[] => path.map(({ stage }) => stage)

describe('paths', () => {
  test('twins are swapped at both ends', () => {
    assert.deepEqual(twinOrder(4), [2, 1, 4, 3])
    assert.deepEqual(twinOrder(5), [2, 1, 3, 5, 4])
    assert.deepEqual(twinOrder(6), [2, 1, 3, 4, 6, 5])
    assert.throws(() => twinOrder(3), RangeError)
  })

  test('odd microbatches meet the twins swapped, and they are half of them', () => {
    const reachable = held({ 1: ['a'], 2: ['b'], 3: ['c'], 4: ['d'] })
    const orders = [0, 1, 2, 3].map((microbatch) => stagesOf(pathOf(twinPaths(4), microbatch, reachable)))
    assert.deepEqual(orders, [naturalOrder(4), twinOrder(4), naturalOrder(4), twinOrder(4)])
    assert.deepEqual(pathOf(twinPaths(4), 1, reachable)[0], { stage: 2, peer: 'b' })
  })

  test('the replica with least under way is taken, and among equals another one for every microbatch', () => {
    const peers = { 1: ['b', 'a'] }
    assert.equal(pathOf(sequentialPaths(1), 0, held(peers, { a: 2, b: 1 }))[0]!.peer, 'b')
    assert.equal(pathOf(sequentialPaths(1), 0, held(peers, { a: 0, b: 1 }))[0]!.peer, 'a')
    const turns = [0, 1, 2, 3].map((microbatch) => pathOf(sequentialPaths(1), microbatch, held(peers))[0]!.peer)
    assert.deepEqual(turns.toSorted(), ['a', 'a', 'b', 'b'])
  })

  test('stages that nobody holds are named', () => {
    for (const paths of [sequentialPaths(3), randomPaths(3, 'run', 'd')]) {
      assert.deepEqual(paths.path({ step: 1, attempt: 1, microbatch: 0 }, held({ 2: ['b'] })), { missing: [1, 3] })
    }
  })

  test('random routing: every round is a bijection, drawn anew, and everybody derives the same', () => {
    for (const replicas of [1, 2, 3, 4]) {
      const names = Array.from({ length: replicas }, (_, i) => `r${i}`)
      const seen = new Set<string>()
      for (let step = 1; step <= 100; step++) {
        for (let first = 0; first + replicas <= 12; first += replicas) {
          const round = Array.from({ length: replicas }, (_, i) => {
            const number = first + i
            const lane = { run: 'run', step, dataPeers: 2, dataPeer: number % 2, microbatch: Math.floor(number / 2) }
            const peer = replicaFor(lane, 2, names)
            assert.equal(replicaFor(lane, 2, names.toReversed()), peer)
            return peer
          })
          assert.deepEqual(round.toSorted(), names)
          seen.add(round.join(' '))
        }
      }
      const orders = [1, 1, 2, 6, 24][replicas]!
      assert.equal(seen.size, orders, `${replicas} replicas: all orders come up`)
    }
  })

  test('random routing: from one stage to the next every replica follows every other about as often', () => {
    const names = ['a', 'b', 'c']
    const counts = new Map<string, number>()
    const runs = 3_000
    for (let step = 0; step < runs; step++) {
      const lane = { run: 'run', step, dataPeers: 1, dataPeer: 0, microbatch: 0 }
      const link = `${replicaFor(lane, 1, names)} ${replicaFor(lane, 2, names)}`
      counts.set(link, (counts.get(link) ?? 0) + 1)
    }
    const chi = [...counts.values()].reduce((sum, count) => sum + (count - runs / 9) ** 2 / (runs / 9), 0)
    // 8 degrees of freedom: above 26 one time in a thousand.
    assert.ok(counts.size === 9 && chi < 26, `chi-square ${chi}`)
  })

  test('chosen stages are refused where they are none', () => {
    const reachable = held({ 1: ['a'], 2: ['b'], 3: ['c'] })
    assert.deepEqual(stagesOf(pathOf(chosenPaths([1, 3], 3), 0, reachable)), [1, 3])
    for (const stages of [[], [1, 1], [0], [4], [1.5]]) {
      assert.throws(() => chosenPaths(stages, 3), { code: 'bad-stages' })
    }
  })

  test('planned paths: microbatches take them in turn, only the first of each sets out late, and all stages where none stand', () => {
    const reachable = held({ 1: ['a'], 2: ['b'], 3: ['c'] })
    const entry = (stage: number, start: number) => ({ path: [{ stage, peer: 'x' }], start })
    const paths = plannedPaths(3, (step) => (step === 10 ? undefined : [entry(1, 0), entry(2, 7)]))
    const found = [0, 1, 2, 3].map((microbatch) => paths.path({ step: 1, attempt: 1, microbatch }, reachable))
    assert.deepEqual(
      found.map((each) => 'path' in each && [each.path[0]!.stage, each.start]),
      [
        [1, 0],
        [2, 7],
        [1, 0],
        [2, 0],
      ],
    )
    assert.deepEqual(stagesOf(pathOf(paths, 0, reachable, 10)), [1, 2, 3])
  })
})
