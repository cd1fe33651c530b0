import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createWorld, disagreements, finish, LIMIT, eventsOf as of, type Process } from './testing/noloco.ts'

describe('a swarm of NoLoCo peers', () => {
  test('two peers train, meet every round and end alike', async () => {
    const world = createWorld({ seed: 1, steps: 80, strategy: { innerSteps: 4 } })
    await world.start('a')
    await world.start('b')
    await finish(world)
    for (const process of world.processes.values()) {
      const met = of(process, 'exchange')
      assert.ok(
        met.length >= 17,
        `${process.name} met ${met.length} times: ${JSON.stringify(of(process, 'exchange-skipped'))}`,
      )
      assert.ok(met.every(({ codingError }) => codingError > 0 && codingError < 0.01))
      const evaluations = of(process, 'evaluation')
      assert.ok(evaluations.at(-1)!.loss < evaluations[0]!.loss / 20)
      assert.equal(process.learner.step(), 80)
      assert.equal(of(process, 'finished').length, 1)
    }
    assert.deepEqual(disagreements(world), [])
  })

  test('the mean of the replicas follows DiLoCo when nobody dies, although int8 travels', async () => {
    // Without noise every replica but its start of the round is the same function of the common past, so the mean is DiLoCo's to the bit of float32.
    const world = createWorld({ seed: 2, steps: 60, strategy: { innerSteps: 3 }, noise: 1 })
    const starts = new Map<number, { theta: number; phi: number; delta: number; peers: number }>()
    const names = ['a', 'b', 'c', 'd', 'e']
    for (const name of names) {
      await world.start(name)
    }
    // The mean of phi and delta after the last round must be what the means before each step give.
    const sums = (process: Process, vector: string): number =>
      process.learner.float32(vector).reduce((x, y) => x + y, 0) / process.learner.size
    for (const process of world.processes.values()) {
      const compute = process.learner.compute.bind(process.learner)
      Object.defineProperty(process.learner, 'compute', {
        value: async (task: Parameters<typeof compute>[0], args: never) => {
          if (task.name !== 'noloco-step') {
            return compute(task, args)
          }
          const before = { theta: sums(process, 'theta'), phi: sums(process, 'phi'), delta: sums(process, 'delta') }
          const result = await compute(task, args)
          const round = Number(process.strategy.progress().round) + 1
          const entry = starts.get(round) ?? { theta: 0, phi: 0, delta: 0, peers: 0 }
          // 0.5 delta + 0.7 (theta - phi) is what the step adds in the mean; what it really added must agree.
          entry.theta += 0.5 * before.delta + 0.7 * (before.theta - before.phi)
          entry.phi += sums(process, 'phi') - before.phi
          entry.delta += Math.abs(
            sums(process, 'phi') - before.phi - (0.5 * before.delta + 0.7 * (before.theta - before.phi)),
          )
          entry.peers++
          starts.set(round, entry)
          return result
        },
      })
    }
    await finish(world)
    const whole = [...starts.values()].filter(({ peers }) => peers === names.length)
    assert.ok(whole.length >= 12, `${whole.length} rounds that all took`)
    for (const { theta, phi } of whole) {
      assert.ok(Math.abs(theta - phi) < 1e-5, `the mean moved by ${phi / 5} instead of ${theta / 5}`)
    }
    // The check would see it: each replica alone moved elsewhere.
    assert.ok(whole.some(({ delta }) => delta > 1e-3))
  })

  test('different speeds, a late joiner and one that dies and returns: loss and disagreement fall, nobody waits for long', async () => {
    const steps = 240
    const world = createWorld({
      seed: 3,
      steps,
      strategy: { innerSteps: 5, partnerTimeout: 3 },
      learningRate: (step) => 0.1 * (1 - step / (steps + 5)),
    })
    const { clock } = world.network
    const names = Array.from({ length: 7 }, (_, i) => `peer-${i}`)
    for (const [i, name] of names.entries()) {
      await world.start(name, { milliseconds: 200 + 40 * i })
    }
    await clock.advance(15_000)
    const victim = world.processes.get('peer-3')!
    victim.checkpoint()
    await clock.advance(4_000)
    victim.kill()
    await clock.advance(3_000)
    const late = await world.start('peer-late', { milliseconds: 220 })
    await clock.advance(12_000)
    const returned = await world.start('peer-3', { milliseconds: 320 })
    await finish(world)

    const joined = of(late, 'joined')[0]!
    assert.ok(joined.donor !== undefined && joined.step > 0 && joined.round > 0 && joined.bytes === 4 * 512)
    const start = of(world.processes.get('peer-0')!, 'evaluation')[0]!.loss
    const first = of(late, 'evaluation')[0]!.loss
    assert.ok(first < 0.1 * start, `it begins at ${first}; the run began at ${start}`)
    assert.ok(of(late, 'exchange').length >= 5)
    // It was away for longer than its checkpoint is worth.
    assert.ok(of(returned, 'joined').length === 1 && of(returned, 'exchange').length >= 5)

    for (const process of world.processes.values()) {
      const evaluations = of(process, 'evaluation')
      assert.ok(evaluations.at(-1)!.loss < 0.02, `${process.name} ends at ${evaluations.at(-1)!.loss}`)
      const met = of(process, 'exchange')
      const mean = (part: typeof met): number =>
        part.reduce((sum, { disagreement }) => sum + disagreement, 0) / part.length
      if (met.length >= 12) {
        const third = Math.floor(met.length / 3)
        assert.ok(
          mean(met.slice(-third)) < 0.6 * mean(met.slice(0, third)),
          `${process.name}: disagreement does not shrink`,
        )
      }
      for (const { milliseconds } of met) {
        assert.ok(milliseconds < 3_000 + 1_000, `a round took ${milliseconds} ms`)
      }
    }
    assert.deepEqual(disagreements(world), [])
  })

  test('a stop is clean at any time, and the same state goes on from its checkpoint', async () => {
    const world = createWorld({ seed: 4, steps: 60, strategy: { innerSteps: 4 } })
    for (const name of ['a', 'b', 'c']) {
      await world.start(name)
    }
    const { clock } = world.network
    for (const wait of [3_310, 5_730, 2_020]) {
      await clock.advance(wait)
      const process = world.processes.get('b')!
      const step = process.learner.step()
      await clock.run(process.stop(), LIMIT)
      process.checkpoint()
      const again = await world.start('b')
      await clock.runUntil(() => of(again, 'evaluation').length > 0, LIMIT)
      assert.ok(again.learner.step() >= step, 'steps got lost')
      assert.equal(of(again, 'joined').length, 0)
    }
    await finish(world)
    assert.deepEqual(disagreements(world), [])
  })

  test('a peer whose machine slept through many rounds fetches a replica', async () => {
    const world = createWorld({ seed: 5, steps: 1200, strategy: { innerSteps: 4, partnerTimeout: 1 } })
    const { clock } = world.network
    for (const name of ['a', 'b', 'c']) {
      await world.start(name)
    }
    await clock.advance(20_000)
    const sleeper = world.processes.get('c')!
    // Its training hangs, as at a suspended machine, and the others hear nothing of it.
    const train = sleeper.learner.train.bind(sleeper.learner)
    let slept = false
    Object.defineProperty(sleeper.learner, 'train', {
      value: async (...args: Parameters<typeof train>) => {
        if (!slept) {
          slept = true
          await clock.sleep(120_000)
        }
        return train(...args)
      },
    })
    await clock.advance(150_000)
    assert.equal(of(sleeper, 'joined').filter(({ donor }) => donor !== undefined).length, 1)
    await finish(world)
  })
})
