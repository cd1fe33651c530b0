import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { codecs, FRAGMENTS_TOPIC, fragmentPlan } from '../protocols/index.ts'
import { createWorld, eventsOf, finish, LIMIT, type Process, spread, type World } from './testing/gossip.ts'

const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `peer-${i}`)

async function startAll(world: World, count: number, milliseconds = (_: number): number => 250): Promise<Process[]> {
  const processes: Process[] = []
  for (const [i, name] of names(count).entries()) {
    processes.push(await world.start(name, { milliseconds: milliseconds(i) }))
  }
  return processes
}

const total = (process: Process, key: 'groups' | 'fragments' | 'bytesSent' | 'bytesReceived'): number =>
  eventsOf(process, 'mixed').reduce((sum, event) => sum + event[key], 0)
const leftOut = (process: Process, name: string): number =>
  eventsOf(process, 'mixed')
    .flatMap((event) => event.leftOut)
    .reduce((sum, { peer, times }) => sum + (peer === name ? times : 0), 0)
const finalLoss = (process: Process): number => eventsOf(process, 'evaluation').at(-1)!.loss
const turnOf = (process: Process): number => Number(process.strategy.progress().round)

/** Fragments that do not fit into a gossip message. */
const LONG = { size: 33_500, strategy: { fragments: 2, interval: 2, codec: 'float32' as const } }

/** Turns to zero, so that what is left at the end is what peers disagree about. */
const falling = { learningRate: (step: number) => 0.1 * Math.max(0.02, 1 - step / 200), noise: 1 }

describe('a swarm that gossips fragments', () => {
  test('six peers end nearer to the minimum and to each other than alone, and the bytes are those of the formula', async () => {
    const size = 1024
    const options = { seed: 1, size, steps: 200, learner: falling }
    const world = createWorld(options)
    const processes = await startAll(world, 6)
    await finish(world)
    const alone = createWorld(options)
    const hermits = await startAll(alone, 6)
    // Nobody hears anybody.
    alone.network.partition()
    await finish(alone)
    for (const [i, process] of processes.entries()) {
      assert.ok(
        finalLoss(process) < finalLoss(hermits[i]!) / 1.5,
        `${finalLoss(process)}, alone ${finalLoss(hermits[i]!)}`,
      )
      assert.equal(total(hermits[i]!, 'groups'), 0)
      assert.equal(process.learner.step(), 200)
      assert.deepEqual(eventsOf(process, 'rejected'), [])
      assert.equal(eventsOf(process, 'finished').length, 1)
      const mixed = eventsOf(process, 'mixed')
      assert.ok(mixed.every(({ codingError, corrected }) => codingError > 0 && codingError < 0.01 && corrected === 0))
      // 40 turns, five others, one fragment of four each; a few come after the end.
      const fragment = codecs.int8.bytes(size / 4)
      const received = total(process, 'bytesReceived')
      assert.equal(received % fragment, 0)
      assert.ok(received <= 40 * 5 * fragment && received >= 36 * 5 * fragment, `${received / fragment} fragments`)
      assert.ok(turnOf(process) >= 39 && turnOf(process) <= 41)
    }
    assert.ok(spread(processes) < spread(hermits) / 1.5, `${spread(processes)}, alone ${spread(hermits)}`)
  })

  test('without training peers that began apart come together, whatever the code', async () => {
    for (const codec of ['int8', 'int8-stochastic', 'float16'] as const) {
      const world = createWorld({
        seed: 2,
        size: 512,
        steps: 120,
        strategy: { codec, interval: 1 },
        learner: { learningRate: () => 0 },
      })
      const processes = await startAll(world, 5)
      for (const [i, { learner }] of processes.entries()) {
        learner.float32('theta').forEach((value, k, theta) => {
          theta[k] = value + 0.3 * Math.sin(7 * i + k)
        })
      }
      const before = spread(processes)
      await finish(world)
      assert.ok(spread(processes) < before / 15, `${codec}: from ${before} to ${spread(processes)}`)
    }
  })

  test('fragments that are too long for gossip are announced and pulled', async () => {
    assert.ok(fragmentPlan(LONG.size, LONG.strategy).fragments.every(({ inline }) => !inline))
    const world = createWorld({ seed: 3, steps: 24, ...LONG, learner: falling })
    const processes = await startAll(world, 3)
    await finish(world)
    for (const process of processes) {
      assert.ok(total(process, 'fragments') >= 6, `${total(process, 'fragments')} fragments`)
      assert.ok(total(process, 'bytesSent') < 10_000, 'only names were gossiped')
      assert.deepEqual(eventsOf(process, 'rejected'), [])
    }
  })

  test('quick and slow peers keep one clock: nobody waits, nobody is left behind', async () => {
    const world = createWorld({ seed: 4, steps: 160, learner: falling })
    const processes = await startAll(world, 6, (i) => [100, 100, 200, 200, 200, 500][i]!)
    const { clock } = world.network
    await clock.advance(14_000)
    const turns = processes.map(turnOf)
    assert.ok(Math.max(...turns) - Math.min(...turns) <= 4, `turns ${turns}`)
    const started = clock.now()
    const [quick] = processes
    await clock.runUntil(() => quick!.finished, LIMIT)
    // It took its own time: what is left of its 160 steps, with evaluations.
    assert.ok(clock.now() - started < 6_000, `${clock.now() - started} ms`)
    await finish(world)
    for (const process of processes) {
      assert.ok(total(process, 'fragments') > 20, `${process.name}: ${total(process, 'fragments')}`)
    }
  })

  test('lost messages, a partition that heals, a death and a late joiner', async () => {
    const steps = 400
    const world = createWorld({
      seed: 5,
      steps,
      network: { loss: 0.1 },
      learner: { learningRate: (step) => 0.1 * Math.max(0.02, 1 - step / steps) },
    })
    const { clock } = world.network
    const processes = await startAll(world, 6, (i) => 200 + 10 * i)
    await clock.advance(20_000)
    const whole = processes.map(turnOf)
    world.network.partition(names(6).slice(0, 3), names(6).slice(3))
    // As soon as the other half counts as silent.
    await clock.advance(15_000)
    const halves = processes.map((process, i) => turnOf(process) - whole[i]!)
    assert.ok(Math.min(...halves) >= 4, `both halves go on: ${halves}`)
    world.network.healAll()
    await clock.advance(6_000)
    const victim = processes[4]!
    victim.checkpoint()
    await clock.advance(2_000)
    victim.kill()
    await clock.advance(3_000)
    const late = await world.start('late', { milliseconds: 220 })
    await clock.advance(4_000)
    const returned = await world.start('peer-4', { milliseconds: 240 })
    await clock.advance(12_000)
    const all = [...world.processes.values()]
    const turns = all.map(turnOf)
    assert.ok(Math.max(...turns) - Math.min(...turns) <= 4, `turns ${turns}`)
    await finish(world)
    const joined = eventsOf(late, 'joined')[0]!
    assert.ok(joined.donor !== undefined && joined.step > 100 && joined.bytes === 4 * 512)
    assert.ok(total(late, 'fragments') > 20 && total(returned, 'fragments') > 20)
    for (const process of all) {
      assert.ok(finalLoss(process) < 0.01, `${process.name} ends at ${finalLoss(process)}`)
      assert.deepEqual(eventsOf(process, 'rejected'), [], 'honest peers are never to blame')
    }
  })

  test('who has finished keeps its parameters as they are, whatever the others still publish', async () => {
    const world = createWorld({ seed: 9, steps: 60 })
    const [quick, slow] = await startAll(world, 2, (i) => [100, 400][i]!)
    await world.network.clock.runUntil(() => quick!.finished, LIMIT)
    const { events, learner } = quick!
    const [told, theta] = [events.length, learner.float32('theta').slice()]
    await finish(world)
    assert.ok(slow!.learner.step() === 60 && turnOf(slow!) > turnOf(quick!))
    assert.deepEqual(learner.float32('theta'), theta)
    assert.equal(events.length, told)
  })

  test('a peer whose machine slept through many turns fetches a replica', async () => {
    const world = createWorld({ seed: 10, size: 256, steps: 600, evaluateEvery: 600 })
    const processes = await startAll(world, 4)
    const { clock } = world.network
    await clock.advance(10_000)
    const sleeper = processes[3]!
    // Its training hangs, as at a suspended machine, and nobody hears of it.
    const train = sleeper.learner.train.bind(sleeper.learner)
    let slept = false
    Object.defineProperty(sleeper.learner, 'train', {
      value: async (...args: Parameters<typeof train>) => {
        if (!slept) {
          slept = true
          await clock.sleep(90_000)
        }
        return train(...args)
      },
    })
    await clock.advance(110_000)
    const joined = eventsOf(sleeper, 'joined')
    assert.equal(joined.length, 2)
    assert.ok(joined[1]!.donor !== undefined && joined[1]!.step > 300)
    assert.ok(Math.abs(turnOf(sleeper) - turnOf(processes[0]!)) <= 3)
    await finish(world)
  })

  test('a stop is clean at any time, and the same replica goes on from its checkpoint', async () => {
    const world = createWorld({ seed: 6, steps: 100 })
    await startAll(world, 4)
    const { clock } = world.network
    for (const wait of [3_310, 4_730, 2_020]) {
      await clock.advance(wait)
      const process = world.processes.get('peer-1')!
      const step = process.learner.step()
      await clock.run(process.stop(), LIMIT)
      process.checkpoint()
      const again = await world.start('peer-1')
      await clock.runUntil(() => eventsOf(again, 'evaluation').length > 0, LIMIT)
      assert.ok(again.learner.step() >= step, 'steps got lost')
      assert.equal(eventsOf(again, 'joined').length, 0)
    }
    await finish(world)
  })

  test('the same seed gives the same swarm, to the bit', async () => {
    const run = async (): Promise<Uint8Array[]> => {
      const world = createWorld({ seed: 7, size: 256, steps: 40, network: { loss: 0.1 } })
      const processes = await startAll(world, 4)
      await finish(world)
      return processes.map(({ learner }) => learner.bytes('theta').slice())
    }
    assert.deepEqual(await run(), await run())
  })

  test('a message of another topic layout is not forwarded, and who sends what cannot be mixed is found out', async () => {
    const world = createWorld({ seed: 8, steps: 60 })
    const processes = await startAll(world, 4)
    const { clock } = world.network
    await clock.advance(4_000)
    const liar = world.network.peer('peer-3')
    await clock.run(liar.publish(FRAGMENTS_TOPIC, Uint8Array.of(1, 2, 3)))
    await finish(world)
    for (const process of processes.slice(0, 3)) {
      assert.ok(finalLoss(process) < 0.05)
    }
  })
})

describe('liars among peers that gossip', () => {
  /** Five honest peers and one that is not. */
  async function attacked(attack: string, rule: string): Promise<{ honest: Process[]; liar: Process }> {
    const world = createWorld({
      seed: 11,
      size: 256,
      steps: 160,
      evaluateEvery: 160,
      strategy: { rule, interval: 2 },
      liars: { 'peer-5': attack },
      learner: falling,
    })
    const processes = await startAll(world, 6)
    await finish(world)
    return { honest: processes.slice(0, 5), liar: processes[5]! }
  }
  const worst = (processes: readonly Process[]): number => Math.max(...processes.map(finalLoss))

  test('what the guards refuse costs nothing, whatever the rule', async () => {
    const peace = worst((await attacked('free-rider', 'mean')).honest)
    for (const attack of ['nan', 'huge-norm', 'sign-flip']) {
      const { honest } = await attacked(attack, 'mean')
      assert.ok(worst(honest) < 2 * peace + 0.01, `${attack}: ${worst(honest)}, without ${peace}`)
      for (const process of honest) {
        const rejected = eventsOf(process, 'rejected')
        assert.ok(rejected.length > 0 && rejected.every(({ peer }) => peer === 'peer-5'), JSON.stringify(rejected[0]))
      }
    }
  })

  test('noise and steps back ruin the mean, and the nearest leave them out', async () => {
    for (const attack of ['noise:0.5', 'inner-product:20']) {
      const [trusting, careful] = [await attacked(attack, 'mean'), await attacked(attack, 'nearest')]
      assert.ok(
        worst(careful.honest) < worst(trusting.honest) / 2,
        `${attack}: ${worst(careful.honest)}, mean ${worst(trusting.honest)}`,
      )
      for (const process of careful.honest) {
        const others = careful.honest.map(({ name }) => leftOut(process, name))
        assert.ok(
          leftOut(process, 'peer-5') > 2 * Math.max(...others),
          `${attack}: ${leftOut(process, 'peer-5')}, ${others}`,
        )
      }
    }
  })

  test('two liars in league of six ruin the plain mean and the rule that expects a fifth, and the default withstands them', async () => {
    const two = async (attack: string, strategy: Record<string, unknown>): Promise<number> => {
      const world = createWorld({
        seed: 11,
        size: 256,
        steps: 160,
        evaluateEvery: 160,
        strategy: { ...strategy, interval: 2 },
        liars: { 'peer-4': attack, 'peer-5': attack },
        learner: falling,
      })
      const processes = await startAll(world, 6)
      await finish(world)
      return worst(processes.slice(0, 4))
    }
    const peace = await two('free-rider', {})
    const losses = {
      plain: await two('noise:0.5', { rule: 'mean', guards: false }),
      fifth: await two('noise:0.5', { faulty: 0.2 }),
      usual: await two('noise:0.5', {}),
    }
    assert.ok(losses.usual < 2 * peace + 0.01, `${losses.usual}, with two that are lazy ${peace}`)
    assert.ok(losses.plain > 2 * losses.usual && losses.fifth > 2 * losses.usual, JSON.stringify(losses))
  })

  test('a liar does not become trusted because honest peers are done and only few are left', async () => {
    const world = createWorld({
      seed: 14,
      size: 256,
      steps: 160,
      evaluateEvery: 160,
      strategy: { interval: 2 },
      liars: { 'peer-5': 'noise:0.5' },
      learner: falling,
    })
    const processes = await startAll(world, 6, (i) => [100, 100, 100, 100, 300, 300][i]!)
    await finish(world)
    assert.ok(worst(processes.slice(0, 5)) < 0.01, `${processes.map(finalLoss)}`)
  })

  test('clipped bounds what one liar can do', async () => {
    const [trusting, clipped] = [await attacked('noise:0.5', 'mean'), await attacked('noise:0.5', 'clipped')]
    assert.ok(worst(clipped.honest) < worst(trusting.honest) / 2, `${worst(clipped.honest)}, ${worst(trusting.honest)}`)
  })

  test('an announced fragment that is never given holds up nobody, and its author is named', async () => {
    const world = createWorld({ seed: 12, steps: 40, ...LONG })
    const processes = await startAll(world, 4)
    const { clock } = world.network
    await clock.advance(1_000)
    world.network.replaceAnswerer('peer-3', 'blob-hashes', () => new Promise(() => {}))
    await finish(world)
    for (const process of processes.slice(0, 3)) {
      assert.ok(total(process, 'fragments') > 15, `${process.name}: ${total(process, 'fragments')}`)
      assert.ok(eventsOf(process, 'rejected').every(({ peer }) => peer === 'peer-3'))
    }
  })

  test('bytes that do not fit their hash are held against who gave them', async () => {
    const world = createWorld({ seed: 13, steps: 40, ...LONG })
    const processes = await startAll(world, 4)
    const { clock } = world.network
    await clock.advance(1_000)
    const honest = world.network.answererOf('peer-3', 'blob-chunk')
    world.network.replaceAnswerer('peer-3', 'blob-chunk', async (...args) => (await honest(...args)).map((x) => x ^ 1))
    await finish(world)
    for (const process of processes.slice(0, 3)) {
      const { penalties } = world.network.peer(process.name)
      assert.ok(penalties.length > 0 && penalties.every(({ peer }) => peer === 'peer-3'), JSON.stringify(penalties))
      assert.ok(total(process, 'fragments') > 15)
    }
  })
})
