import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { seededRandom } from '../protocols/index.ts'
import {
  bytes,
  HEALED,
  holderOf,
  killHolders,
  running,
  SEVEN,
  STUCK,
  stepOf,
  taken,
  trainedTo,
} from './testing/healing.ts'
import { createHoldersWorld, ENDS, type HolderProcess, type HoldersWorld, startOf } from './testing/holders.ts'

/** Least time for a peer to say that it lives, ms. */
const QUICK = 1_000

describe('the start', () => {
  test('seven peers deal one data peer and six stages, one each, from the common start', async () => {
    const world = createHoldersWorld({ seed: 1, strategy: { dataPeers: 1 } })
    for (const name of SEVEN) {
      await world.start(name)
    }
    const { clock } = world.network
    await clock.runUntil(() => world.whole(), 10_000)
    for (let part = 0; part <= 6; part++) {
      const process = holderOf(world, part)
      assert.equal(process.holders.holds().length, 1, `${process.name} has one role`)
      assert.equal(taken(process, part).how, 'initial')
      const moved = process.holders.held(part)!.step > 0
      assert.ok(moved || Buffer.compare(bytes(process.theta(part)), bytes(startOf(part))) === 0)
      assert.equal(process.holders.waiting(), undefined)
    }
  })

  test('fewer peers than roles take several each, and say what they wait for where that is not enough', async () => {
    const world = createHoldersWorld({ seed: 2 })
    await world.start('a')
    await world.start('b')
    const { clock } = world.network
    await clock.advance(20_000)
    assert.equal(world.holding(1).length, 0, 'two peers have room for four stages of six: nobody begins')
    assert.match(world.processes.get('a')!.holders.waiting() ?? '', /2 peers with room for 4 stages/)
    await world.start('c')
    await clock.runUntil(() => world.whole(), 20_000)
    const roles = world.alive().map(({ holders }) => holders.holds().length)
    assert.deepEqual([...roles].sort(), [2, 2, 3])
    await trainedTo(world, 10)
  })

  test('peers that come one after the other have one role each in the end', async () => {
    const world = createHoldersWorld({ seed: 3 })
    const { clock } = world.network
    for (const name of SEVEN) {
      await world.start(name)
      await clock.advance(4_500)
    }
    await clock.runUntil(() => world.alive().every(({ holders }) => holders.holds().length === 1), STUCK)
    assert.ok(world.whole())
    const moved = world
      .alive()
      .flatMap(({ events }) => events)
      .filter((event) => event.kind === 'stage-taken' && event.how === 'moved')
    assert.ok(moved.length > 0)
  })
})

describe('a holder that dies', () => {
  for (const [what, lost, how] of [
    ['the first stage', [1], 'neighbour'],
    ['a stage between others', [3], 'average'],
    ['the last stage', [6], 'neighbour'],
  ] as const) {
    test(`${what}: another peer rebuilds it from its neighbours, and training goes on`, async () => {
      const world = await running(SEVEN, { seed: 4 })
      const before = stepOf(world)
      assert.ok((await killHolders(world, lost)) < HEALED)
      const process = holderOf(world, lost[0])
      const event = taken(process, lost[0])
      assert.equal(event.how, how)
      assert.equal(event.degraded, how === 'neighbour')
      assert.ok(event.step >= before - 1, 'it has its place in the schedule of rates')
      await trainedTo(world, before + 2)
      const held = process.holders.held(lost[0])!
      assert.equal(held.rate, 1.1)
      assert.ok(held.applied < held.step - before + 5, 'its optimizer began afresh')
      assert.deepEqual(untouched(world, lost[0]), [], 'other stages keep their rate and their optimizer')
    })
  }

  test('the weights are those of the rule, from both neighbours at the same step', async () => {
    const world = await running(SEVEN, { seed: 5 })
    // The data peer dies with the stage, so that the neighbours stand still while this looks.
    const [left, right] = [holderOf(world, 3), holderOf(world, 5)]
    const taker = new Promise<HolderProcess>((resolve) => {
      for (const process of world.alive()) {
        const push = process.events.push.bind(process.events)
        process.events.push = (event) => {
          if (event.kind === 'stage-taken' && event.stage === 4) {
            const norms = [left, right].map(({ holders }, i) => holders.held(i === 0 ? 3 : 5)!.norm!)
            const [a, b] = [left.theta(3), right.theta(5)]
            const expected = a.map((value, i) => (norms[0]! * value + norms[1]! * b[i]!) / (norms[0]! + norms[1]!))
            const rebuilt = process.theta(4)
            assert.ok(rebuilt.every((value, i) => Math.abs(value - expected[i]!) < 1e-6))
            resolve(process)
          }
          return push(event)
        }
      }
    })
    await killHolders(world, [4])
    assert.equal((await taker).name, holderOf(world, 4).name)
  })

  test('the rate after two recoveries of one stage is that after one', async () => {
    const world = await running([...SEVEN, 'h', 'i'], { seed: 6 })
    for (let death = 0; death < 2; death++) {
      assert.ok((await killHolders(world, [3])) < HEALED)
      await trainedTo(world, stepOf(world) + 5)
    }
    assert.equal(holderOf(world, 3).holders.held(3)!.rate, 1.1)
  })

  test('two adjacent stages at once are rebuilt from the nearest that live, and called degraded', async () => {
    const world = await running(SEVEN, { seed: 7 })
    assert.ok((await killHolders(world, [3, 4])) < HEALED)
    for (const part of [3, 4]) {
      const { how, degraded } = taken(holderOf(world, part), part)
      assert.equal(how, 'average')
      assert.equal(degraded, true)
    }
    await trainedTo(world, stepOf(world) + 3)
  })

  test('all but the first and the last stage at once', async () => {
    const world = await running(SEVEN, { seed: 8, strategy: { places: 4 } })
    assert.ok((await killHolders(world, [2, 3, 4, 5])) < HEALED)
    await trainedTo(world, stepOf(world) + 3)
  })

  test('a spare takes the stage, not a peer that has one', async () => {
    const world = await running([...SEVEN, 'h'], { seed: 9 })
    const spare = world.alive().find(({ holders }) => holders.holds().length === 0)!
    assert.ok((await killHolders(world, [2])) < HEALED)
    assert.equal(holderOf(world, 2).name, spare.name)
  })

  test('one that only falls silent, without a closed connection, is replaced as well', async () => {
    const world = await running(SEVEN, { seed: 10 })
    const frozen = holderOf(world, 3)
    frozen.peer.freeze()
    const since = world.network.clock.now()
    await world.network.clock.runUntil(
      () => world.alive().some((process) => process !== frozen && process.holders.held(3) !== undefined),
      STUCK,
    )
    assert.ok(world.network.clock.now() - since < HEALED)
  })

  test('one that is slow to say it lives is not replaced once that is known; one that hangs then still is', async () => {
    const world = await running(SEVEN, { seed: 17 })
    const { network, alive } = world
    const { clock } = network
    const slow = holderOf(world, 3)
    const answer = network.answererOf(slow.name, 'pipeline-alive')
    network.replaceAnswerer(slow.name, 'pipeline-alive', async (...asked) => {
      await clock.sleep(2 * QUICK)
      return await answer(...asked)
    })
    const others = alive().filter((process) => process !== slow)
    const doubt = (): void => {
      for (const { holders } of others) {
        // A data peer that says it twice is believed.
        if (holders.held(0) === undefined) {
          holders.suspect(3, slow.name, 'disconnected')
        }
      }
    }
    const replaced = (): number =>
      others.flatMap(({ events }) => events).filter((event) => event.kind === 'stage-taken' && event.stage === 3).length

    doubt()
    await clock.advance(3 * QUICK)
    assert.equal(replaced(), 1, 'nobody knows yet that it is only slow')
    await clock.runUntil(() => world.holding(3).length === 1 && world.holding(3)[0] === slow, STUCK)

    doubt()
    await clock.advance(3 * QUICK)
    assert.equal(replaced(), 1)
    assert.deepEqual(world.holding(3), [slow])
    await trainedTo(world, stepOf(world) + 3)

    slow.peer.freeze()
    const since = clock.now()
    await clock.runUntil(() => others.some(({ holders }) => holders.held(3) !== undefined), STUCK)
    assert.ok(clock.now() - since < 10 * QUICK + HEALED)
  })

  test('a restart within a second: the role is dealt anew, and nobody ends with two stages', async () => {
    const world = await running(SEVEN, { seed: 11 })
    const victim = holderOf(world, 4)
    victim.checkpoint()
    victim.kill()
    await world.network.clock.advance(300)
    await world.start(victim.name)
    const { clock } = world.network
    await clock.runUntil(
      () => world.whole() && world.alive().every(({ holders }) => holders.holds().length === 1),
      STUCK,
    )
    await trainedTo(world, stepOf(world) + 3)
  })
})

/** Stages other than `lost` whose course does not look as if they had been stepped from the start on. */
function untouched(world: HoldersWorld, lost: number): number[] {
  return [1, 2, 3, 4, 5, 6].filter((part) => {
    const held = part === lost ? undefined : holderOf(world, part).holders.held(part)!
    return held !== undefined && (held.rate !== 1 || held.applied !== held.step)
  })
}

describe('a data peer that dies', () => {
  test('the ends come back bit for bit from a keeper, and training goes on at the step after its copy', async () => {
    for (const seed of [12, 13, 14]) {
      const world = await running(SEVEN, { seed })
      const victim = holderOf(world, 0)
      // Every state that the ends have been in.
      const states = new Map<number, Uint8Array>()
      const remember = (): void => {
        const step = victim.holders.held(0)?.step
        if (step !== undefined && !states.has(step)) {
          states.set(step, bytes(victim.theta(0)).slice())
        }
      }
      const until = stepOf(world) + 4
      await world.network.clock.runUntil(() => {
        remember()
        return stepOf(world) >= until
      }, STUCK)
      let adopted: { step: number; same: boolean } | undefined
      for (const process of world.alive()) {
        const push = process.events.push.bind(process.events)
        process.events.push = (event) => {
          if (event.kind === 'stage-taken' && event.stage === 0) {
            const state = states.get(event.step)
            adopted = {
              step: event.step,
              same: state !== undefined && Buffer.compare(state, bytes(process.theta(0))) === 0,
            }
            const moment = process.float32('m').subarray(0, ENDS)
            assert.ok(moment.every((value) => value === 0))
          }
          return push(event)
        }
      }
      assert.ok((await killHolders(world, [0])) < HEALED)
      assert.ok(adopted?.same, `seed ${seed}: the ends of step ${adopted?.step}`)
      assert.ok(adopted.step >= until - 3, 'and they are not old')
      assert.equal(taken(holderOf(world, 0), 0).how, 'replica')
      await trainedTo(world, until + 3)
    }
  })

  test('together with the keeper at one end: the other one has them', async () => {
    for (const lost of [
      [0, 1],
      [0, 6],
      [0, 3],
    ]) {
      const world = await running(SEVEN, { seed: 15 })
      assert.ok((await killHolders(world, lost)) < HEALED)
      const { how, degraded } = taken(holderOf(world, 0), 0)
      assert.deepEqual([how, degraded], ['replica', false], `parts ${lost}`)
      await trainedTo(world, stepOf(world) + 3)
    }
  })

  test('two data peers: one copies the ends of the other', async () => {
    const world = await running([...SEVEN, 'h', 'i'], { seed: 16, strategy: { dataPeers: 2 } })
    assert.equal(world.holding(0).length, 2)
    const [victim, other] = world.holding(0)
    victim!.kill()
    await world.network.clock.runUntil(() => world.holding(0).length === 2, STUCK)
    const taker = world.holding(0).find((process) => process !== other)!
    assert.deepEqual(taken(taker, 0).from, [other!.name])
  })
})

test('whoever is killed when, every part has a ready holder again in less than five seconds', async () => {
  const slow: string[] = []
  let degraded = 0
  for (let seed = 1; seed <= 100; seed++) {
    const random = seededRandom('healing', seed)
    const world = await running([...SEVEN, 'h'], { seed: 1000 + seed, strategy: { places: 3 } })
    const { clock } = world.network
    for (let kill = 0; kill < 2; kill++) {
      await clock.advance(random.integer(2_000))
      const alive = world.alive()
      const victim = alive[random.integer(alive.length)]!
      const before = stepOf(world)
      victim.kill()
      const since = clock.now()
      await clock.runUntil(() => world.whole(), STUCK)
      if (clock.now() - since >= HEALED) {
        slow.push(`seed ${seed}: ${Math.round(clock.now() - since)} ms`)
      }
      await trainedTo(world, before + 2)
      if (random.uniform() < 0.5) {
        await world.start(victim.name)
      }
    }
    degraded += world
      .alive()
      .flatMap(({ events }) => events)
      .filter((event) => event.kind === 'stage-taken' && event.how === 'random').length
  }
  assert.deepEqual(slow, [])
  assert.equal(degraded, 0, "nothing was ever taken from the run's start again")
})
