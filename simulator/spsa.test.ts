import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type ComputeTask, type Learner, type PeerName, SNAPSHOT_METHOD, StarlingError } from '../protocols/index.ts'
import { snapshotAnswer } from '../protocols/spsa/snapshot.ts'
import { createWorld, finish, hashOf, LIMIT, eventsOf as of, type Process, setOf, type World } from './testing/spsa.ts'
import { createLiar } from './testing/spsa-log.ts'
import { randomRun } from './testing/spsa-runs.ts'

/** Randomized runs in this file; scripts/soaks/spsa-simulated.js does hundreds. */
const RUNS = 12

type Task = ComputeTask<never, unknown>

/** The same learner, with `after` called when it has run a task; what that gives, if anything, is the task's result. */
function meddled(learner: Learner, after: (task: Task, result: unknown) => unknown): Learner {
  return {
    ...learner,
    async compute(task, args, signal) {
      const result = await learner.compute(task, args, signal)
      return (after(task as Task, result) as typeof result | undefined) ?? result
    },
  }
}

/** A machine on which applying contributions seems to take for ever, so that fetching the sums is worth it. */
const slow = (learner: Learner): Learner =>
  meddled(learner, ({ name }, result) => (name === 'spsa-apply' ? { ...(result as object), seconds: 1e3 } : undefined))

/** All that live hold the same contributions, sums and parameters, and did so whenever their sets were equal. */
function assertAlike(world: World, authors: readonly PeerName[]): void {
  const alive = [...world.processes.values()].filter(({ life }) => !life.dead)
  assert.deepEqual(world.differences, [])
  for (const process of alive) {
    assert.equal(setOf(process), setOf(alive[0] as Process), process.name)
    assert.equal(hashOf(process, 'theta'), hashOf(alive[0] as Process, 'theta'), process.name)
  }
  const { version } = (alive[0] as Process).strategy.progress() as { version: Record<PeerName, number> }
  assert.deepEqual(Object.keys(version).sort(), [...authors].sort())
}

describe('peers with equal sets hold equal bits', () => {
  test('at every moment, whoever comes late, leaves, or is killed while it writes', async () => {
    for (let seed = 1; seed <= RUNS; seed++) {
      await randomRun(seed)
    }
  })

  for (const strategy of [
    { scaling: 'sum', directions: 'sign' },
    { scaling: 'sqrt', directions: 'gaussian' },
    { scaling: 'mean', directions: 'sign' },
    { variant: 'seeded', learningRate: 0.3, innerSteps: 3, coordinates: 8 },
  ]) {
    test(`and learn, with ${JSON.stringify(strategy)}`, async () => {
      const world = createWorld({ seed: 3, size: 60, steps: 64, learner: { noise: 0.1 }, strategy })
      for (const name of ['a', 'b', 'c']) {
        await world.start(name, { milliseconds: 100 })
      }
      await finish(world)
      assertAlike(world, ['a', 'b', 'c'])
      for (const process of world.processes.values()) {
        const losses = of(process, 'evaluation').map(({ loss }) => loss)
        assert.ok(losses.at(-1)! < 0.8 * losses[0]!, `${process.name}: ${losses[0]} to ${losses.at(-1)}`)
      }
    })
  }

  test('more peers take the loss further in the same number of rounds', async () => {
    const after = async (peers: number): Promise<number> => {
      const world = createWorld({ seed: 4, size: 500, steps: 40, learner: { noise: 0 }, strategy: { batch: 1 } })
      for (let i = 0; i < peers; i++) {
        await world.start(`peer-${i}`, { milliseconds: 200 })
      }
      await finish(world)
      return of(world.processes.get('peer-0')!, 'evaluation').at(-1)!.loss
    }
    const [one, two, four] = [await after(1), await after(2), await after(4)]
    assert.ok(one > two && two > four, `${one}, ${two}, ${four}`)
  })
})

describe('a peer that starts again', () => {
  async function restarted(
    damage: (process: Process, world: World) => void,
  ): Promise<{ world: World; again: Process }> {
    const world = createWorld({ seed: 5, size: 2_500, steps: 60, strategy: { batch: 2 } })
    for (const name of ['a', 'b']) {
      await world.start(name, { milliseconds: 100 })
    }
    await world.network.clock.advance(8_000)
    const victim = world.processes.get('b')!
    victim.checkpoint()
    await world.network.clock.advance(1_000)
    victim.kill()
    damage(victim, world)
    await world.network.clock.advance(1_000)
    const again = await world.start('b', { milliseconds: 100 })
    await finish(world)
    assertAlike(world, ['a', 'b'])
    return { world, again }
  }

  test('goes on from its checkpoint, and applies only what came since', async () => {
    const { again } = await restarted(() => {})
    assert.deepEqual([of(again, 'rejected'), of(again, 'joined')], [[], []])
    assert.ok(of(again, 'contributions')[0]!.contributions > 40)
  })

  test('computes the sums again when those of the checkpoint are not the log’s, and says so', async () => {
    const { again } = await restarted((_, world) => {
      const sums = world.disk('b').checkpoint!.vectors.get('sums')!
      new Int32Array(sums.buffer, sums.byteOffset).forEach((sum, i, all) => {
        all[i] = sum + 1
      })
    })
    assert.match(of(again, 'rejected')[0]!.reason, /computed again/)
  })

  test('computes the sums again when the log lost what the checkpoint holds', async () => {
    const { again } = await restarted((_, world) => {
      const { checkpoint } = world.disk('b')
      const { version } = checkpoint!.progress as { version: Record<PeerName, number> }
      version.a = version.a! + 1_000
    })
    assert.match(of(again, 'rejected')[0]!.reason, /computed again/)
  })

  test('is not held up by a trainer that dies while it works for it', async () => {
    let tasks = 0
    const world = createWorld({
      seed: 6,
      steps: 30,
      strategy: { batch: 2 },
      meddle: (name, learner) =>
        meddled(learner, (task) => {
          // The task has run when it is said to have failed: what it did has to be thrown away.
          if (
            name === 'b' &&
            ['spsa-apply', 'spsa-clear', 'spsa-refresh', 'spsa-perturb'].includes(task.name) &&
            ++tasks % 7 === 0
          ) {
            throw new StarlingError('trainer-crashed', 'the trainer died', {})
          }
        }),
    })
    for (const name of ['a', 'b']) {
      await world.start(name, { milliseconds: 100 })
    }
    await finish(world)
    assert.ok(tasks > 70)
    assertAlike(world, ['a', 'b'])
  })
})

describe('a late joiner', () => {
  /** Two peers, of which one may lie, train for a while; then a third comes, for which fetching sums is quicker than replaying. */
  async function joined(options: {
    meddle?: (name: PeerName, learner: Learner) => Learner
    before?: (world: World) => void
  }): Promise<{ world: World; late: Process }> {
    const world = createWorld({
      seed: 7,
      size: 5_000,
      steps: 120,
      strategy: { batch: 4 },
      meddle: (name, learner) => (name === 'late' ? slow(learner) : (options.meddle?.(name, learner) ?? learner)),
    })
    for (const name of ['a', 'liar']) {
      await world.start(name, { milliseconds: 100 })
    }
    await world.network.clock.advance(15_000)
    options.before?.(world)
    const late = await world.start('late', { milliseconds: 50 })
    await finish(world)
    assertAlike(world, ['a', 'liar', 'late'])
    return { world, late }
  }

  test('takes over the sums of another peer when that is quicker, and is in step at once', async () => {
    const { late } = await joined({})
    const [plan] = of(late, 'plan')
    assert.ok(plan?.choice === 'snapshot' && plan.snapshotSeconds! < plan.replaySeconds)
    const [event] = of(late, 'joined')
    assert.ok(event?.donor !== undefined && event.bytes === 20_000 && event.round > 100)
    assert.deepEqual(of(late, 'rejected'), [])
  })

  /** The first donor that is asked may be the honest one, so the honest one has nothing to give at first. */
  async function lied(
    meddle: (name: PeerName, learner: Learner) => Learner,
    before: (world: World) => void,
  ): Promise<{ world: World; late: Process }> {
    return joined({
      meddle,
      before(world) {
        world.network.replaceAnswerer('a', SNAPSHOT_METHOD, () => {
          throw new StarlingError('not-ready', 'not now', {})
        })
        before(world)
      },
    })
  }

  test('finds out sums that are not those of the log, blames their giver, and replays', async () => {
    const { world, late } = await lied(
      (name, learner) =>
        meddled(learner, (task) => {
          if (name === 'liar' && task.name === 'spsa-snapshot') {
            learner.int32('snapshot')[2_047 + 1]! += 1
            learner.int32('snapshot')[100]! -= 1
            learner.int32('snapshot')[4_999]! += 3
          }
        }),
      () => {},
    )
    assert.match(of(late, 'rejected')[0]!.reason, /are not those of the contributions/)
    assert.deepEqual(world.network.peer('late').penalties, [{ peer: 'liar', reason: 'bad-snapshot' }])
    assert.equal(of(late, 'plan').at(-1)!.choice, 'replay')
  })

  test('does not wait for ever for contributions that a snapshot claims and nobody has', async () => {
    const { world, late } = await lied(
      (_, learner) => learner,
      (world) => {
        const honest = world.network.answererOf('liar', SNAPSHOT_METHOD)
        world.network.replaceAnswerer('liar', SNAPSHOT_METHOD, async (...asked) => {
          const answer = snapshotAnswer.decode(await honest(...asked))
          return snapshotAnswer.encode({ ...answer, version: [...answer.version, ['somebody', 1_000]] })
        })
      },
    )
    assert.match(of(late, 'rejected')[0]!.reason, /cannot get/)
    assert.equal(of(late, 'plan').at(-1)!.choice, 'replay')
    assert.deepEqual(world.network.peer('late').penalties, [])
  })

  test('refuses garbage and sums of another size', async () => {
    for (const [answer, reason] of [
      [new Uint8Array([1, 2, 3]), 'bad-message'],
      [snapshotAnswer.encode({ root: '0'.repeat(64), size: 12, version: [['a', 1]] }), 'bad-snapshot'],
    ] as const) {
      const { world } = await lied(
        (_, learner) => learner,
        (world) => world.network.replaceAnswerer('liar', SNAPSHOT_METHOD, () => answer),
      )
      assert.deepEqual(world.network.peer('late').penalties, [{ peer: 'liar', reason }])
    }
  })
})

test('what an author contributed before it was proven to contradict itself is taken off again, exactly', async () => {
  const world = createWorld({ seed: 8, size: 2_100, steps: 60, strategy: { batch: 2, scaling: 'sqrt' } })
  const { clock } = world.network
  for (const name of ['a', 'b']) {
    await world.start(name, { milliseconds: 100 })
  }
  const liar = await createLiar(world.network, 'liar')
  const bytes = Array.from({ length: 20 }, (_, i) => 1 + i)
  await clock.run(liar.publish(await liar.segment(bytes)))
  const holds = (process: Process): boolean => setOf(process).includes('liar')
  await clock.runUntil(() => [...world.processes.values()].every(holds), LIMIT)
  await clock.run(liar.publish(await liar.segment([...bytes.slice(0, 9), 99, 98])))
  await finish(world)
  for (const process of world.processes.values()) {
    const [excluded] = of(process, 'excluded')
    assert.deepEqual([excluded?.peer, excluded?.step, excluded?.own], ['liar', 10, false])
    assert.ok(of(process, 'contributions').some(({ added }) => added < 0))
  }
  assertAlike(world, ['a', 'b'])
})

test('sums that would leave 32 bits end the run with a warning before and the keys to change, and stay those of a set', async () => {
  const strategy = { scaling: 'mean', quantum: 2 ** -20, batch: 1 }
  const world = createWorld({ seed: 10, size: 300, steps: 200, strategy })
  const process = await world.start('a', { milliseconds: 50 })
  await assert.rejects(finish(world), { code: 'sums-overflow', message: /strategy\.quantum.*strategy\.clip/ })
  const [warning, ...more] = of(process, 'sums-large')
  assert.ok(warning !== undefined && warning.largest > 2 ** 30 && more.length === 0)
  assert.ok(process.learner.int32('sums').every((sum) => Math.abs(sum) < 2 ** 31 - 1))
})

test('a stop is clean at any moment', async () => {
  const world = createWorld({ seed: 9, steps: 60, strategy: { batch: 3 } })
  const { clock } = world.network
  for (const wait of [50, 1_230, 3_310, 5_730, 9_000]) {
    const process = await world.start('a', { milliseconds: 100 })
    await clock.advance(wait)
    await clock.run(process.stop(), LIMIT)
    process.checkpoint()
  }
  const last = await world.start('a', { milliseconds: 100 })
  await finish(world)
  assert.deepEqual([of(last, 'rejected'), last.learner.step()], [[], 60])
})
