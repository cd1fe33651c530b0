import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../../random.ts'
import { planFaults } from './constraints.ts'
import { evenStages } from './draft.ts'
import { decodePlan, encodePlan, MAX_MACHINES, planQuestion, travelled } from './messages.ts'
import { omittedOrder } from './omit.ts'
import { planSkip } from './plan.ts'
import { evenRounds, type SkipPlan, type SkipProblem } from './problem.ts'
import { reroute } from './reroute.ts'
import { randomProblem } from './testing/tiny.ts'

/** A problem and a quick plan of it. */
function planned(seed: number, holders: number): { problem: SkipProblem; plan: SkipPlan } {
  const drawn = randomProblem(seededRandom('reroute', seed), { stages: 6, keep: 4, holders, paths: 4 })
  // Room for a neighbour's microbatches.
  const problem = { ...drawn, machines: drawn.machines.map((machine) => ({ ...machine, slots: 4 })) }
  return { problem, plan: planSkip(problem, { seed: [seed], work: 3000 }) }
}

test('a lost holder is gone around by those who went through it, at other holders of its stage', () => {
  for (let seed = 0; seed < 20; seed++) {
    const { problem, plan } = planned(seed, 3)
    const lost = plan.rounds[0]![0]!.hops[seed % 4]!
    const around = reroute(problem, plan, lost)!
    assert.deepEqual(planFaults(around.problem, around.plan), [])
    for (const [round, paths] of plan.rounds.entries()) {
      for (const [number, path] of paths.entries()) {
        const after = around.plan.rounds[round]![number]!
        for (const [i, hop] of path.hops.entries()) {
          assert.equal(after.hops[i]!.stage, hop.stage)
          const moved = hop.stage === lost.stage && hop.machine === lost.machine
          assert.equal(after.hops[i]!.machine === hop.machine, !moved)
        }
      }
    }
  }
})

test('a lost stage is left out, the others in its place; the first stage cannot be', () => {
  let found = 0
  for (let seed = 0; seed < 20; seed++) {
    const { problem, plan } = planned(seed, 1)
    const stage = 2 + (seed % 5)
    const around = reroute(problem, plan, { stage, machine: problem.holders[stage - 1]![0]! })
    if (around !== undefined) {
      found++
      assert.deepEqual(planFaults(around.problem, around.plan), [])
      assert.ok(
        around.plan.rounds.flat().every(({ hops }) => hops.length === 4 && hops.every((hop) => hop.stage !== stage)),
      )
    }
    assert.equal(reroute(problem, plan, { stage: 1, machine: problem.holders[0]![0]! }), undefined)
  }
  // Where a greedy choice cannot keep the balance a whole new plan is due; that must be the exception.
  assert.ok(found >= 15, `${found} of 20`)
})

test('a plan is the same after it has travelled, and the largest one fits its message', () => {
  const { problem, plan } = planned(1, 2)
  const times = (value: SkipProblem): SkipProblem => ({
    ...value,
    pause: 0,
    machines: value.machines.map((machine) => ({
      slots: machine.slots,
      forward: travelled(machine.forward),
      embed: travelled(machine.embed),
      loss: travelled(machine.loss),
    })),
    transfer: value.transfer.map((row) => row.map(travelled)),
  })
  const peers = problem.machines.map((_, i) => `peer-${i}`)
  const read = decodePlan(encodePlan({ peers, problem, plan }))
  assert.deepEqual(read.problem, times(problem))
  assert.deepEqual(read.peers, peers)
  const rounds = plan.rounds.map((paths) => paths.map((path) => ({ ...path, start: travelled(path.start) })))
  assert.deepEqual(read.plan, { rounds, seconds: travelled(plan.seconds) })

  const stages = MAX_MACHINES - 1
  const base = {
    machines: Array.from({ length: MAX_MACHINES }, () => ({ forward: 1000, embed: 1000, loss: 1000, slots: 64 })),
    transfer: Array.from({ length: MAX_MACHINES }, () => new Array<number>(MAX_MACHINES).fill(1000)),
    pause: 0,
    origins: [0],
    holders: Array.from({ length: stages }, (_, i) => [i + 1]),
    fixed: 1,
    keep: stages - 1,
    paths: 64,
    release: { microbatches: 64, every: 0 },
  }
  const large = { ...base, rounds: evenRounds(base), slack: 0 }
  const all = evenStages(large).map((round) =>
    round.map((order) => ({ origin: 0, start: 1000, hops: order.map((stage) => ({ stage, machine: stage })) })),
  )
  const names = Array.from({ length: MAX_MACHINES }, (_, i) => `12D3KooW${String(i).padStart(44, 'x')}`)
  const bytes = encodePlan({ peers: names, problem: large, plan: { rounds: all, seconds: 1000 } })
  assert.ok(bytes.byteLength <= planQuestion.maxBytes)
  assert.deepEqual(decodePlan(bytes).plan.rounds, all)
})

test('an inference with stages left out begins with the first one and goes on in order, all choices alike', () => {
  const random = seededRandom('omit')
  const counts = new Map<number, number>()
  for (let i = 0; i < 1000; i++) {
    const order = omittedOrder(6, 3, random)
    assert.equal(order.length, 4)
    assert.equal(order[0], 1)
    assert.ok(order.every((stage, at) => at === 0 || stage > order[at - 1]!))
    for (const stage of order.slice(1)) {
      counts.set(stage, (counts.get(stage) ?? 0) + 1)
    }
  }
  // 600 each, deviation 15.5.
  assert.ok([2, 3, 4, 5, 6].every((stage) => Math.abs(counts.get(stage)! - 600) < 70))
  assert.deepEqual(omittedOrder(4, 0, random), [1])
  assert.deepEqual(omittedOrder(4, 3, random), [1, 2, 3, 4])
  assert.throws(() => omittedOrder(4, 4, random), RangeError)
})
