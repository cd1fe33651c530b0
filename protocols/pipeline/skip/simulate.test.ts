import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../../random.ts'
import { planFaults } from './constraints.ts'
import type { SkipPath, SkipProblem } from './problem.ts'
import { iteration, type SimulatedTask, simulateIteration } from './simulate.ts'
import { fixture, PARTITION, pathOf, pathsOf, schedules } from './testing/fixture.ts'
import { randomProblem, tiny } from './testing/tiny.ts'

/** Simulated seconds of the published schedules, under the release rules that their predictions were made with. */
function published(): Record<keyof typeof schedules, number> {
  const seconds = (paths: SkipPath[]) => simulateIteration(fixture, iteration(fixture, paths)).seconds
  const copies = schedules.avoiding.paths.flatMap((path) => [path, path, path])
  return {
    avoiding: seconds(pathsOf(copies, 1)),
    colliding: seconds(pathsOf(schedules.colliding.paths)),
    blind: seconds(pathsOf(schedules.blind.paths)),
    full: simulateIteration(
      fixture,
      schedules.full.paths.flatMap((path) =>
        Array.from({ length: 9 }, (_, m) => ({ path: pathOf(path), release: Math.floor(m / 3) * 0.1 })),
      ),
    ).seconds,
  }
}

test('the published schedules take as long as their authors predicted, within 1 %, and are in the same order', () => {
  const seconds = published()
  for (const [name, { seconds: expected }] of Object.entries(schedules)) {
    const found = seconds[name as keyof typeof schedules]
    assert.ok(Math.abs(found / expected - 1) < 0.01, `${name}: ${found}, not ${expected}`)
  }
  assert.ok(seconds.avoiding < seconds.colliding)
  assert.ok(seconds.colliding < seconds.blind)
  assert.ok(seconds.blind < seconds.full)
})

test('the published schedules keep the constraints', () => {
  const single = { ...fixture, paths: 1, machines: fixture.machines.map((machine) => ({ ...machine, slots: 1 })) }
  assert.deepEqual(planFaults(single, { rounds: [pathsOf(schedules.avoiding.paths)] }), [])
  assert.deepEqual(planFaults(fixture, { rounds: [pathsOf(schedules.colliding.paths)] }), [])
  assert.deepEqual(planFaults(fixture, { rounds: [pathsOf(schedules.blind.paths)] }), [])
  const swaps = (paths: readonly (readonly number[])[]): number =>
    paths
      .map((path) => pathOf(path).hops.map(({ stage }) => stage))
      .reduce((sum, stages) => sum + stages.filter((stage, i) => i > 0 && stage < stages[i - 1]!).length, 0)
  assert.equal(swaps(schedules.avoiding.paths), 3)
  assert.equal(swaps(schedules.colliding.paths), 7)
  assert.equal(PARTITION.flat().length, 20)
})

test('a microbatch alone takes the sum of its tasks, transfers and pauses nowhere', () => {
  const problem: SkipProblem = { ...tiny, pause: 0.5, release: { ...tiny.release, microbatches: 1 } }
  const path = { origin: 0, start: 0, hops: [{ stage: 1, machine: 2 }, { stage: 3, machine: 7 }] } // biome-ignore format: one line
  const tasks: SimulatedTask[] = []
  const { seconds } = simulateIteration(problem, [{ path, release: 2 }], (task) => tasks.push(task))
  // Forward 1 + 1 + 1, loss .25, backward 1.5 * 3, transfers .1 + 1 + 1 and back the same way.
  assert.ok(Math.abs(seconds - (2 + 3 + 0.25 + 4.5 + 4.2)) < 1e-9)
  assert.deepEqual(
    tasks.map(({ kind, stage }) => `${kind} ${stage}`),
    ['forward 0', 'forward 1', 'forward 3', 'loss 0', 'backward 3', 'backward 1', 'backward 0'],
  )
})

test('slots are never exceeded, a machine does one thing at a time, and every forward pass has one backward pass', () => {
  for (let seed = 0; seed < 20; seed++) {
    const random = seededRandom('slots', seed)
    const problem = randomProblem(random, { stages: 5, keep: 4, dataPeers: 2, paths: 3 })
    // Paths at random within the slots: the order of the stages is natural, the machines take turns.
    const paths = problem.origins.flatMap((origin) =>
      Array.from({ length: 3 }, (_, turn) => ({
        origin,
        start: 0.1 * turn,
        hops: [1, 2, 3, 4, 5]
          .filter((stage) => stage !== 2 + random.integer(4) || stage === 1)
          .map((stage) => ({ stage, machine: problem.holders[stage - 1]![turn % 2]! })),
      })),
    )
    const tasks: SimulatedTask[] = []
    const released = iteration({ ...problem, release: { microbatches: 9, every: 0.3 } }, paths)
    const { finished } = simulateIteration(problem, released, (task) => tasks.push(task))
    assert.ok(finished.every(Number.isFinite))
    for (const [machine, { slots }] of problem.machines.entries()) {
      const here = tasks.filter((task) => task.machine === machine).sort((a, b) => a.started - b.started)
      const held = new Map<number, number>()
      for (const [i, { kind, stage, started, arrived }] of here.entries()) {
        assert.ok(started >= arrived)
        assert.ok(i === 0 || started >= here[i - 1]!.ended + problem.pause - 1e-9)
        if (kind !== 'loss') {
          held.set(stage, (held.get(stage) ?? 0) + (kind === 'forward' ? 1 : -1))
          assert.ok(held.get(stage)! >= 0 && held.get(stage)! <= slots)
        }
      }
      assert.ok([...held.values()].every((count) => count === 0))
    }
    for (const [microbatch, { path }] of released.entries()) {
      const own = tasks.filter((task) => task.microbatch === microbatch)
      assert.equal(own.length, 2 * path.hops.length + 3)
      const passes = (kind: string): number[] => own.filter((task) => task.kind === kind).map(({ stage }) => stage)
      assert.deepEqual(passes('backward'), passes('forward').reverse())
    }
  }
})

test('microbatches that keep each other from going on are said to take for ever', () => {
  // One slot each, and two microbatches that go through the same two machines in opposite order.
  const problem = { ...tiny, machines: tiny.machines.map((machine) => ({ ...machine, slots: 1 })) }
  const there = { origin: 0, start: 0, hops: [{ stage: 1, machine: 2 }, { stage: 2, machine: 4 }] } // biome-ignore format: one line
  const back = { origin: 1, start: 0, hops: [{ stage: 2, machine: 4 }, { stage: 1, machine: 2 }] } // biome-ignore format: one line
  const released = [there, back].map((path) => ({ path, release: 0 }))
  assert.equal(simulateIteration(problem, released).seconds, Number.POSITIVE_INFINITY)
})
