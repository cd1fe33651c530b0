import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../../random.ts'
import { planFaults } from './constraints.ts'
import { evenStages } from './draft.ts'
import { planSkip, planSteps } from './plan.ts'
import { evenRounds, keepFault, type SkipProblem } from './problem.ts'
import { iteration, simulateIteration } from './simulate.ts'
import { fixture, schedules } from './testing/fixture.ts'
import { randomProblem, tiny } from './testing/tiny.ts'

/** The most that a test here plans with, unless it needs a good plan. */
const LITTLE = 15_000

test('on the published delays our plan takes no longer than the authors predicted for theirs', () => {
  const plan = planSkip(fixture, { seed: ['fixture'] })
  assert.deepEqual(planFaults(fixture, plan), [])
  const { seconds } = simulateIteration(fixture, iteration(fixture, plan.rounds[0]!))
  assert.equal(plan.seconds, seconds)
  assert.ok(seconds <= schedules.avoiding.seconds, `${seconds} s`)
})

test('the tiny pipeline gets its best plan', () => {
  for (const seed of [1, 2, 3]) {
    assert.ok(Math.abs(planSkip(tiny, { seed: [seed], work: 300_000 }).seconds - 9.85) < 1e-9)
  }
})

test('plans keep all constraints, for any number of stages, delays and seeds', () => {
  const shapes = [
    { stages: 4, keep: 3 },
    { stages: 6, keep: 4 },
    { stages: 8, keep: 6 },
    { stages: 6, keep: 4, dataPeers: 2, paths: 3, holders: 3 },
    { stages: 5, keep: 5 },
    { stages: 12, keep: 4, holders: 1 },
  ]
  for (let seed = 0; seed < 100; seed++) {
    const random = seededRandom('constraints', seed)
    const problem = randomProblem(random, shapes[seed % shapes.length]!)
    const collisions = seed % 2 === 0 ? 'ignore' : 'avoid'
    const plan = planSkip(problem, { seed: [seed], work: LITTLE, collisions })
    assert.deepEqual(planFaults(problem, plan), [])
    assert.ok(Number.isFinite(plan.seconds))
  }
})

test('a plan that minds collisions is never worse than the one that does not', () => {
  for (let seed = 0; seed < 30; seed++) {
    const random = seededRandom('collisions', seed)
    const problem = randomProblem(random, { stages: 6, keep: 4, holders: 2, dataPeers: 1 + (seed % 2), paths: 4 })
    const [blind, aware] = (['ignore', 'avoid'] as const).map((collisions) =>
      planSkip(problem, { seed: [seed], work: LITTLE, collisions }),
    )
    assert.ok(aware!.seconds <= blind!.seconds, `seed ${seed}: ${aware!.seconds} and ${blind!.seconds}`)
  }
})

test('a plan can be made again, and in slices', () => {
  const problem = randomProblem(seededRandom('again'), { stages: 6, keep: 4 })
  const options = { seed: ['run', 7], work: LITTLE }
  const plan = planSkip(problem, options)
  const steps = planSteps(problem, options)
  let slices = 0
  let step = steps.next()
  while (step.done !== true) {
    slices++
    step = steps.next()
  }
  assert.deepEqual(step.value, plan)
  assert.ok(slices >= 1)
  assert.notDeepEqual(planSkip(problem, { ...options, seed: ['run', 8] }).rounds, plan.rounds)
})

test('with all stages, all paths are the whole pipeline', () => {
  const problem = randomProblem(seededRandom('whole'), { stages: 4, keep: 4, holders: 1 })
  const { rounds } = planSkip(problem, { seed: [1], work: LITTLE })
  assert.equal(rounds.length, 1)
  for (const { hops } of rounds[0]!) {
    assert.deepEqual(hops.map(({ stage }) => stage).sort(), [1, 2, 3, 4])
  }
})

test('a stage that nobody holds is left out, and the others are visited equally often', () => {
  const whole = randomProblem(seededRandom('without'), { stages: 6, keep: 4 })
  const holders = whole.holders.map((of, i) => (i === 2 ? [] : of))
  const problem: SkipProblem = { ...whole, holders, rounds: evenRounds({ ...whole, holders }) }
  const plan = planSkip(problem, { seed: [1], work: LITTLE })
  assert.deepEqual(planFaults(problem, plan), [])
  assert.ok(plan.rounds.flat().every(({ hops }) => hops.every(({ stage }) => stage !== 3)))
  const first = { ...whole, holders: whole.holders.map((of, i) => (i === 0 ? [] : of)) }
  assert.throws(() => planSkip(first, { seed: [1] }), { code: 'no-plan' })
})

test('too little room, and too few stages, are said before anything is planned', () => {
  const problem = randomProblem(seededRandom('room'), { stages: 4, keep: 3, holders: 1, paths: 4 })
  const machines = problem.machines.map((machine) => ({ ...machine, slots: 1 }))
  assert.throws(() => planSkip({ ...problem, machines }, { seed: [1] }), { code: 'no-plan' })
  assert.equal(keepFault(6, 4), undefined)
  assert.equal(keepFault(1, 1), undefined)
  assert.equal(keepFault(2, 2), undefined)
  assert.match(keepFault(2, 1)!, /from 2 to/)
  assert.match(keepFault(6, 7)!, /to the number of stages, 6/)
  assert.match(keepFault(12, 3)!, /from 4 to/)
})

test('stages are left out evenly, within a round but for one path and over all rounds exactly', () => {
  for (const [stages, keep, paths] of [
    [6, 4, 4],
    [8, 6, 3],
    [4, 3, 1],
    [12, 4, 11],
  ] as const) {
    const problem = randomProblem(seededRandom('even'), { stages, keep, paths })
    const rounds = evenStages(problem)
    const visits = (lists: readonly number[][], stage: number): number =>
      lists.filter((list) => list.includes(stage)).length
    for (let stage = 2; stage <= stages; stage++) {
      assert.equal(visits(rounds.flat(), stage), (rounds.length * paths * (keep - 1)) / (stages - 1))
      for (const round of rounds) {
        assert.ok(Math.abs(visits(round, stage) - (paths * (keep - 1)) / (stages - 1)) < 1)
      }
    }
  }
})
