import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../../random.ts'
import { collisions, pathFaults, planFaults } from './constraints.ts'
import type { SkipHop, SkipPath, SkipProblem } from './problem.ts'
import { cheapestPath } from './search.ts'
import { type SimulatedTask, simulateIteration } from './simulate.ts'
import { randomProblem, tiny } from './testing/tiny.ts'
import { roundTrip, timetable, type Window } from './timetable.ts'

/** Every path of that data peer that the validator has nothing against. */
function everyPath(problem: SkipProblem, origin: number): SkipPath[] {
  const hops = problem.holders.flatMap((machines, i) => machines.map((machine): SkipHop => ({ stage: i + 1, machine })))
  const grow = (path: SkipHop[]): SkipHop[][] =>
    path.length === problem.keep ? [path] : hops.flatMap((hop) => grow([...path, hop]))
  return grow([])
    .map((found) => ({ origin, start: 0, hops: found }))
    .filter((path) => pathFaults(problem, path).length === 0)
}

test('the search finds what trying everything finds, with and without closed times', () => {
  for (let seed = 0; seed < 12; seed++) {
    const random = seededRandom('exhaustive', seed)
    const shape = seed % 2 === 0 ? { stages: 4, keep: 3, holders: 2 } : { stages: 3, keep: 2, holders: 3 }
    const problem = { ...randomProblem(random, shape), fixed: seed % 3 === 0 ? 1 : 0 }
    const all = everyPath(problem, 0)
    for (const count of [0, 2, 6, 20]) {
      const windows = Array.from({ length: count }, (): Window => {
        const from = 8 * random.uniform()
        return { machine: random.integer(problem.machines.length), from, to: from + random.uniform() }
      })
      const start = random.uniform()
      const best = Math.min(...all.map((path) => roundTrip(problem, { ...path, start }, windows)))
      const found = cheapestPath(problem, 0, start, { windows })
      assert.ok(found !== undefined && Math.abs(found.seconds - best) < 1e-9)
      assert.deepEqual(pathFaults(problem, found.path), [])
      assert.equal(roundTrip(problem, found.path, windows), found.seconds)
    }
  }
})

test('the search keeps away from what is forbidden, and says when nothing is left', () => {
  const allowed = (stage: number, machine: number): boolean => stage !== 1 && machine !== 4
  const { path } = cheapestPath(tiny, 0, 0, { allowed })!
  assert.deepEqual(
    path.hops.map(({ machine }) => machine),
    [5, 6],
  )
  assert.equal(cheapestPath(tiny, 0, 0, { allowed: (stage) => stage === 3 }), undefined)
})

test('of two microbatches that must use one machine, the later one begins there when the first has ended', () => {
  const problem: SkipProblem = { ...tiny, holders: [[2], [4], [6]], keep: 1 }
  const only = (stage: number): boolean => stage === 1
  const first = timetable(problem, cheapestPath(problem, 0, 0, { allowed: only })!.path)
  const there = first.find(({ stage }) => stage === 1)!
  const windows = [{ machine: there.machine, from: there.from, to: there.to }]
  const second = cheapestPath(problem, 0, 0.5, { allowed: only, windows })!
  const delayed = timetable(problem, second.path, windows).find(({ stage }) => stage === 1)!
  assert.equal(delayed.from, there.to)
  // And so it is where both are simulated together.
  const tasks: SimulatedTask[] = []
  const released = [0, 0.5].map((release) => ({ path: second.path, release }))
  simulateIteration(problem, released, (task) => tasks.push(task))
  const [one, two] = tasks.filter(({ stage, kind }) => stage === 1 && kind === 'forward')
  assert.deepEqual([one?.microbatch, two?.microbatch], [0, 1])
  assert.equal(two?.started, one?.ended)
})

test('what is broken in a plan is named', () => {
  const hop = (stage: number, region = 0): SkipHop => ({ stage, machine: 2 * stage + region })
  const good: SkipPath[] = [
    { origin: 0, start: 0, hops: [hop(1), hop(2)] },
    { origin: 0, start: 0, hops: [hop(3), hop(2)] },
    { origin: 1, start: 0, hops: [hop(2, 1), hop(1, 1)] },
    { origin: 1, start: 0, hops: [hop(1, 1), hop(3, 1)] },
  ]
  // 8 visits of 3 stages: 2 or 3 in a round, 8 over three rounds; the second and third rounds make up for what the first has less of.
  const problem: SkipProblem = { ...tiny, rounds: 3 }
  const rotated = (by: number): SkipPath[] =>
    [
      [1, 2],
      [2, 3],
      [1, 3],
      [1, 2],
    ].map((stages, i) => {
      const turned = stages.map((stage) => ((stage - 1 + by) % 3) + 1).sort()
      return { origin: i >> 1, start: 0, hops: turned.map((stage) => hop(stage, i >> 1)) }
    })
  const rounds = [rotated(0), rotated(1), rotated(2)]
  assert.deepEqual(planFaults(problem, { rounds }), [])
  const broken = (change: (paths: SkipPath[]) => SkipPath[]): string[] => [
    ...new Set(
      planFaults(problem, { rounds: [change(rounds[0]!), rounds[1]!, rounds[2]!] }).map(({ constraint }) => constraint),
    ),
  ]
  const first =
    (hops: SkipHop[]) =>
    ([path, ...others]: SkipPath[]): SkipPath[] => [{ ...path!, hops }, ...others]
  assert.deepEqual(
    broken(([path, ...others]) => [{ ...path!, origin: 1 }, ...others]),
    ['CC1'],
  )
  assert.deepEqual(broken(first([hop(1), hop(3)])), ['CC2'])
  assert.deepEqual(broken(first([hop(2), hop(2)])), ['CC3', 'CC2', 'TC1'])
  assert.deepEqual(broken(first([{ stage: 1, machine: 4 }, hop(2)])), ['paths'])
  assert.deepEqual(broken(first([hop(1)])), ['paths', 'CC2'])
  assert.deepEqual(
    broken((paths) => paths.map((path) => ({ ...path, hops: path.hops.map(({ stage }) => hop(stage)) }))),
    ['TC1'],
  )
  assert.deepEqual(planFaults(tiny, { rounds: [good] }), [])
  assert.deepEqual(planFaults(problem, { rounds: rounds.slice(1) })[0]?.constraint, 'paths')
})

test('orders that are allowed: two neighbours swapped, twice at most, and no stage far ahead', () => {
  const problem: SkipProblem = {
    ...tiny,
    machines: Array.from({ length: 9 }, () => tiny.machines[0]!),
    holders: Array.from({ length: 8 }, (_, i) => [i + 1]),
  }
  const faults = (order: string, fixed = 0): string[] => {
    const hops = [...order].map((stage) => ({ stage: Number(stage), machine: Number(stage) }))
    const found = pathFaults({ ...problem, keep: order.length, fixed }, { origin: 0, start: 0, hops })
    return found.map(({ constraint }) => constraint)
  }
  for (const order of ['12', '13', '21', '23', '32', '2143', '1324', '45', '1526'.replace('52', '54')]) {
    assert.deepEqual(faults(order), [], order)
  }
  for (const order of ['31', '11', '321', '214365', '56', '16', '1545']) {
    assert.deepEqual(faults(order), ['CC3'], order)
  }
  assert.deepEqual(faults('132', 1), [])
  assert.deepEqual(faults('213', 1), ['CC1'])
  assert.deepEqual(faults('234', 1), ['CC1'])
})

test('collisions are those of microbatches that would not wait for each other', () => {
  const hops = [{ stage: 1, machine: 2 }]
  const problem: SkipProblem = { ...tiny, keep: 1, origins: [0] }
  const paths = [
    { origin: 0, start: 0, hops },
    { origin: 0, start: 0.4, hops },
  ]
  // Forward passes at 1.1 to 2.1 and 1.5 to 2.5; the backward passes, at 2.45 and 2.85, begin after both.
  const [met, ...others] = collisions(problem, paths)
  assert.deepEqual(met?.microbatches, [0, 1])
  assert.ok(Math.abs(met.from - 1.5) < 1e-9 && Math.abs(met.to - 2.1) < 1e-9)
  assert.ok(others.every(({ from }) => from >= 2.45 - 1e-9))
  assert.deepEqual(collisions(problem, [paths[0]!, { ...paths[1]!, start: 10 }]), [])
})
