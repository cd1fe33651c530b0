import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  bytes,
  equal,
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
import { createHoldersWorld, ENDS, type HolderProcess, type HoldersWorld, STAGE } from './testing/holders.ts'

describe('what a peer kept', () => {
  test('a swarm that was stopped goes on from its checkpoints', async () => {
    const world = await running(SEVEN, { seed: 33 })
    const held = new Map(world.alive().map((process) => [process.name, process.holders.holds()]))
    for (const process of world.alive()) {
      process.checkpoint()
      process.kill()
    }
    for (const name of SEVEN) {
      await world.start(name)
    }
    await world.network.clock.runUntil(() => world.whole(), STUCK)
    for (const process of world.alive()) {
      const [before] = held.get(process.name)!
      const now = process.holders.held(before!.stage)!
      assert.equal(taken(process, before!.stage).how, 'own')
      assert.ok(now.step >= before!.step && now.applied - before!.applied === now.step - before!.step)
    }
  })
})

describe('recovery: checkpoint', () => {
  const strategy = { recovery: 'checkpoint', checkpointEvery: 4 }

  test('everybody goes back to the newest checkpoint, parameters and moments to the bit', async () => {
    for (const lost of [[3], [0], [6]]) {
      const world = await running(SEVEN, { seed: 34, strategy })
      // The state of every part right after each step.
      const states = new Map<string, Uint8Array>()
      const stateOf = (process: HolderProcess, part: number): Uint8Array => {
        const { place } = process.holders.held(part)!
        const begin = place === 'ends' ? 0 : ENDS + place * STAGE
        const of = (name: string): Uint8Array =>
          bytes(process.float32(name).subarray(begin, begin + process.theta(part).length))
        return Buffer.concat([of('theta'), of('m')])
      }
      const remember = (): void => {
        for (const process of world.alive()) {
          for (const { stage, step, epoch } of process.holders.holds()) {
            const key = `${stage} ${step} ${epoch}`
            if (!states.has(key)) {
              states.set(key, stateOf(process, stage))
            }
          }
        }
      }
      const { clock } = world.network
      await clock.runUntil(() => {
        remember()
        return stepOf(world) === 14
      }, STUCK)
      await killHolders(world, lost)
      await clock.runUntil(() => {
        remember()
        return world.alive().every(({ holders }) => holders.holds().every(({ epoch }) => epoch === 1)) && world.whole()
      }, STUCK)
      for (let part = 0; part <= 6; part++) {
        const back = states.get(`${part} 12 1`)
        assert.ok(back !== undefined, `part ${part} was back at step 12`)
        assert.equal(Buffer.compare(back, states.get(`${part} 12 0`)!), 0, `part ${part}`)
      }
      await trainedTo(world, 20)
      assert.equal(holderOf(world, 3).holders.held(3)!.rate, 1)
    }
  })

  test('one loss after the other, and two stages far apart at once', async () => {
    const world = await running([...SEVEN, 'h', 'i'], { seed: 35, strategy })
    let epoch = 0
    for (const lost of [[2], [5, 1], [0]]) {
      await trainedTo(world, stepOf(world) + 9)
      const before = stepOf(world)
      await killHolders(world, lost)
      await world.network.clock.runUntil(() => {
        const held = world.alive().flatMap(({ holders }) => holders.holds())
        return world.whole() && held.every((each) => each.epoch === held[0]!.epoch && each.epoch > epoch)
      }, STUCK)
      epoch = world.alive().flatMap(({ holders }) => holders.holds())[0]!.epoch
      assert.ok(stepOf(world) <= before && stepOf(world) >= before - 9, `from ${before} to ${stepOf(world)}`)
    }
  })
})

describe('replicas of a stage', () => {
  const strategy = { replicas: 2, outer: { innerSteps: 6 } }
  const EIGHT = [...SEVEN.slice(0, 5), 'x', 'y']

  /** Three stages with two holders each, and a data peer. */
  async function pairs(seed: number): Promise<HoldersWorld> {
    const world = createHoldersWorld({ seed, stages: 3, strategy })
    for (const name of EIGHT) {
      await world.start(name)
    }
    await world.network.clock.runUntil(() => [1, 2, 3].every((stage) => world.holding(stage).length === 2), STUCK)
    return world
  }

  const vector = (process: HolderProcess, name: string, stage: number): Float32Array => {
    const begin = ENDS + (process.holders.held(stage)!.place as number) * STAGE
    return process.float32(name).subarray(begin, begin + STAGE)
  }
  const rounds = (process: HolderProcess): number[] =>
    process.events.flatMap((event) => (event.kind === 'exchange' ? [event.round] : []))

  test('take the outer step together, every few steps, and stay alike', async () => {
    const world = await pairs(40)
    await trainedTo(world, 32)
    for (const stage of [1, 2, 3]) {
      const [a, b] = world.holding(stage)
      assert.ok(rounds(a!).length >= 4, `rounds of stage ${stage}: ${rounds(a!)}`)
      // One of them may be a message behind.
      const both = Math.min(rounds(a!).length, rounds(b!).length)
      assert.ok(Math.abs(rounds(a!).length - rounds(b!).length) <= 1)
      assert.deepEqual(rounds(a!).slice(0, both), rounds(b!).slice(0, both), 'the same rounds on both sides')
      const [one, other] = [vector(a!, 'outer-phi', stage), vector(b!, 'outer-phi', stage)]
      const apart = Math.max(...one.map((value, i) => Math.abs(value - other[i]!)))
      const size = Math.max(...one.map((value) => Math.abs(value)))
      assert.ok(apart < 0.05 * size, `slow weights are ${apart} of ${size} apart`)
    }
  })

  test('a partner that dies: the other goes on alone, its stage needs no recovery, and a new one copies it', async () => {
    const world = await pairs(41)
    await trainedTo(world, 8)
    const [victim, other] = world.holding(2)
    victim!.kill()
    const before = stepOf(world)
    await trainedTo(world, before + 8)
    assert.ok(other!.holders.held(2)!.rate === 1, 'nothing was rebuilt')
    const spare = await world.start('z')
    await world.network.clock.runUntil(() => spare.holders.held(2) !== undefined, STUCK)
    const event = taken(spare, 2)
    assert.deepEqual([event.how, event.from], ['replica', [other!.name]])
    assert.ok(equal(vector(spare, 'outer-phi', 2), vector(spare, 'theta', 2)))
    assert.ok(vector(spare, 'outer-delta', 2).every((value) => value === 0))
    const met = rounds(other!).length
    await world.network.clock.runUntil(() => rounds(other!).length > met, STUCK)
  })

  test('both holders of a stage die: it is rebuilt once, and copied', async () => {
    const world = await pairs(42)
    await trainedTo(world, 8)
    assert.ok((await killHolders(world, [2])) < HEALED)
    await world.start('z')
    const { clock } = world.network
    await clock.runUntil(() => world.holding(2).length === 2, STUCK)
    const how = world.holding(2).map((process) => taken(process, 2).how)
    assert.deepEqual(how.sort(), ['average', 'replica'])
    const rates = world.holding(2).map(({ holders }) => holders.held(2)!.rate)
    assert.deepEqual(rates, [1.1, 1.1], 'the rate belongs to the stage')
  })
})

describe('moves', () => {
  test('a spare takes over one of two stages with its optimizer, to the bit', async () => {
    const world = await running(SEVEN.slice(0, 6), { seed: 17 })
    const crowded = world.alive().find(({ holders }) => holders.holds().length === 2)!
    const stages = crowded.holders.holds().map(({ stage }) => stage)
    let given: { theta: Float32Array; moment: Float32Array } | undefined
    let same: boolean | undefined
    const spare = await world.start('g')
    const push = spare.events.push.bind(spare.events)
    spare.events.push = (event) => {
      if (event.kind === 'stage-taken' && event.how === 'moved') {
        const { place } = spare.holders.held(event.stage)!
        const begin = ENDS + (place as number) * STAGE
        const moment = spare.float32('m').subarray(begin, begin + STAGE)
        same = given !== undefined && equal(given.theta, spare.theta(event.stage)) && equal(given.moment, moment)
      }
      return push(event)
    }
    const left = crowded.events.push.bind(crowded.events)
    const places = new Map(crowded.holders.holds().map(({ stage, place }) => [stage, place as number]))
    crowded.events.push = (event) => {
      if (event.kind === 'stage-left') {
        const begin = ENDS + places.get(event.stage)! * STAGE
        const part = (name: string): Float32Array => crowded.float32(name).slice(begin, begin + STAGE)
        given = { theta: part('theta'), moment: part('m') }
      }
      return left(event)
    }
    await world.network.clock.runUntil(() => spare.holders.holds().length === 1, STUCK)
    const [held] = spare.holders.holds()
    assert.ok(stages.includes(held!.stage))
    assert.equal(same, true)
    assert.equal(held!.rate, 1)
    assert.equal(held!.applied, held!.step, 'the optimizer goes on')
    const step = stepOf(world)
    await trainedTo(world, step + 3)
    assert.ok(world.whole())
  })

  test('a taker that dies on the way leaves the stage where it was; a giver that dies leaves it to be rebuilt', async () => {
    for (const victim of ['taker', 'giver'] as const) {
      for (let seed = 20; seed < 26; seed++) {
        const world = await running(SEVEN.slice(0, 6), { seed })
        const crowded = world.alive().find(({ holders }) => holders.holds().length === 2)!
        const spare = await world.start('g')
        const { clock } = world.network
        // Some milliseconds into the move, a different moment with each seed.
        await clock.runUntil(() => crowded.holders.holds().length === 1, STUCK)
        await clock.advance((seed - 20) * 6)
        const dead = victim === 'taker' ? spare : crowded
        dead.kill()
        const since = clock.now()
        await clock.runUntil(() => world.whole(), STUCK)
        assert.ok(clock.now() - since < HEALED, `${victim}, seed ${seed}: ${clock.now() - since} ms`)
        await trainedTo(world, stepOf(world) + 3)
      }
    }
  })
})

describe('partitions and surplus', () => {
  test('both halves go on where they can, and after the cut every role is held once again', async () => {
    const world = await running(SEVEN, { seed: 27, strategy: { places: 6 } })
    const { clock } = world.network
    const data = holderOf(world, 0).name
    const others = SEVEN.filter((name) => name !== data)
    world.network.partition([data, ...others.slice(0, 3)], others.slice(3))
    const half = [data, ...others.slice(0, 3)].map((name) => world.processes.get(name)!)
    const before = stepOf(world)
    await clock.runUntil(() => half[0]!.holders.held(0)!.step > before + 30, STUCK)
    await clock.advance(5_000)
    world.network.healAll()
    await clock.runUntil(
      () => world.whole() && [0, 1, 2, 3, 4, 5, 6].every((part) => world.holding(part).length === 1),
      STUCK,
    )
    const steps = [1, 2, 3, 4, 5, 6].map((part) => holderOf(world, part).holders.held(part)!.step)
    assert.ok(Math.max(...steps) - Math.min(...steps) <= 30, `one half's stages remain: ${steps}`)
    await trainedTo(world, stepOf(world) + 3)
  })

  test('two that took the same stage at once: one of them leaves', async () => {
    const world = createHoldersWorld({ seed: 28 })
    const names = [...SEVEN.slice(0, 4), 'x', 'y', 'z']
    for (const name of names) {
      await world.start(name)
    }
    const { clock } = world.network
    // Two swarms that did not see each other at the start, with room for everything each.
    world.network.partition(names.slice(0, 4), names.slice(4))
    await clock.advance(12_000)
    assert.ok([1, 2, 3, 4, 5, 6].some((part) => world.holding(part).length === 2))
    world.network.healAll()
    await clock.runUntil(
      () => world.whole() && [0, 1, 2, 3, 4, 5, 6].every((part) => world.holding(part).length === 1),
      STUCK,
    )
    await trainedTo(world, stepOf(world) + 3)
  })
})
