import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { aliveAnswer, leaveAnswer, statementMessage } from '../protocols/pipeline/holders/messages.ts'
import { HEALED, holderOf, killHolders, running, SEVEN, STUCK, stepOf, taken, trainedTo } from './testing/healing.ts'
import type { HoldersWorld } from './testing/holders.ts'

describe('liars', () => {
  test('one that claims a stage and does not serve it is left out, and another takes the stage', async () => {
    const world = await running(SEVEN, { seed: 29 })
    const liar = holderOf(world, 3)
    world.network.replaceAnswerer(liar.name, 'test-step', async () => {
      throw new Error('no')
    })
    const data = holderOf(world, 0)
    await world.network.clock.runUntil(
      () => world.holding(3).some((process) => process !== liar) && data.holders.ready(3)[0] !== liar.name,
      STUCK,
    )
    const step = stepOf(world)
    await trainedTo(world, step + 5)
    // Its claim stands; the other does not leave the stage to it.
    await world.network.clock.advance(20_000)
    assert.ok(world.holding(3).some((process) => process !== liar))
    await trainedTo(world, stepOf(world) + 3)
  })

  test('a copy that is not finite, too large or of another length is refused, and what is missing comes from elsewhere', async () => {
    for (const lie of ['not finite', 'too large'] as const) {
      const world = await running([...SEVEN, 'h'], { seed: 30 })
      const liar = holderOf(world, 2)
      liar.theta(2).fill(lie === 'not finite' ? Number.NaN : 1e6)
      assert.ok((await killHolders(world, [3])) < HEALED)
      const taker = holderOf(world, 3)
      const rejected = taker.events.filter((event) => event.kind === 'rejected')
      assert.deepEqual(
        rejected.map(({ peer }) => peer),
        [liar.name],
        lie,
      )
      assert.equal(taken(taker, 3).degraded, true, 'from the nearest that are in order')
      assert.ok(taker.theta(3).every((value) => Math.abs(value) < 100))
      assert.ok(liar.name !== taken(taker, 3).from[0])
    }
  })

  test('one that says it is a data peer and that every stage is lost moves nobody', async () => {
    const world = await running(SEVEN, { seed: 31 })
    const before = [1, 2, 3, 4, 5, 6].map((part) => holderOf(world, part).name)
    const lost = before.map((peer, index) => ({ part: index + 1, peer }))
    await shout(world, { lost })
    assert.deepEqual(
      [1, 2, 3, 4, 5, 6].map((part) => holderOf(world, part).name),
      before,
    )
    await trainedTo(world, stepOf(world) + 3)
  })

  test('one that says it is a data peer far ahead does not drive the true one out', async () => {
    const world = await running(SEVEN, { seed: 37 })
    const before = holderOf(world, 0).name
    await shout(world, { step: 1_000_000 })
    assert.equal(holderOf(world, 0).name, before)
    const step = stepOf(world)
    await trainedTo(world, step + 5)
  })

  test('one that floods with statements costs nobody a role, and is not listened to', async () => {
    const world = await running(SEVEN, { seed: 32 })
    const roles = world.alive().map(({ holders }) => holders.holds().map(({ stage }) => stage))
    await shout(world, { times: 500, holds: [1, 2, 3, 4, 5, 6] })
    assert.deepEqual(
      world.alive().map(({ holders }) => holders.holds().map(({ stage }) => stage)),
      roles,
    )
    await trainedTo(world, stepOf(world) + 3)
  })

  test('one that says that the run was set back moves nobody', async () => {
    const world = await running(SEVEN, { seed: 36, strategy: { recovery: 'checkpoint', checkpointEvery: 4 } })
    await trainedTo(world, 10)
    await shout(world, { back: { epoch: 7, step: 0 } })
    assert.ok(world.alive().every(({ holders }) => holders.holds().every(({ epoch }) => epoch === 0)))
  })
})

/** A peer that only talks, and says that it lives and stays: as a data peer, every second or `times` at once, for ten seconds. */
async function shout(
  world: HoldersWorld,
  {
    lost = [],
    times = 1,
    holds = [0],
    step = 0,
    back = { epoch: 0, step: 0 },
  }: {
    lost?: { part: number; peer: string }[]
    times?: number
    holds?: number[]
    step?: number
    back?: { epoch: number; step: number }
  },
): Promise<void> {
  const { clock } = world.network
  const liar = world.network.join('liar')
  liar.answer('pipeline-leave', async () => leaveAnswer.encode({ stays: true }))
  liar.answer('pipeline-alive', async () => aliveAnswer.encode({ incarnation: 1, holds: true }))
  let sequence = 0
  for (let second = 0; second < 10; second++) {
    for (let time = 0; time < times; time++) {
      const statement = statementMessage.encode({
        incarnation: 1,
        sequence: ++sequence,
        interval: 1_000,
        holds: holds.map((part) => ({ part, state: 'ready' as const, step })),
        places: 16,
        slots: 4,
        lost,
        back,
        copies: [],
        finished: false,
        kept: [],
      })
      await liar.publish('stages', statement)
    }
    await clock.advance(1_000)
  }
  liar.kill()
  await clock.advance(1_000)
}
