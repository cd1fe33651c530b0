import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type SegmentEntry, StarlingError, seededRandom, segmentsAnswer, syncQuestion } from '../protocols/index.ts'
import { type Contributor, createLogWorld, disagreements, history, type LogWorld } from './testing/spsa-log.ts'
import { eventsOf, LIMIT } from './testing/world.ts'

const living = (world: LogWorld): Contributor[] => [...world.processes.values()].filter(({ life }) => !life.dead)

/** Lets time pass until all who live hold the whole run, or what `complete` says. */
async function converge(world: LogWorld, complete: (process: Contributor) => boolean): Promise<void> {
  const { clock } = world.network
  const broken: unknown[] = []
  for (const { done } of living(world)) {
    done.catch((error: unknown) => broken.push(error))
  }
  await clock.runUntil(() => broken.length > 0 || living(world).every(complete), LIMIT)
  assert.deepEqual(broken, [])
  const all = living(world)
  await clock.runUntil(() => all.every(({ strategy }) => strategy.sync.agreeing().length >= all.length - 1), LIMIT)
}

async function stop(world: LogWorld): Promise<void> {
  await world.network.clock.run(Promise.all(living(world).map((process) => process.stop())))
}

/** Everybody holds what everybody published, and nobody was blamed for anything. */
function checkHonest(world: LogWorld): void {
  assert.deepEqual(disagreements(living(world)), [])
  for (const { name, strategy, events } of living(world)) {
    for (const [author, steps] of world.said) {
      const bytes = strategy.log.bytesOf(author)
      for (const [step, byte] of steps) {
        assert.equal(bytes[step - 1], byte, `${name} holds what ${author} published for step ${step}`)
      }
    }
    assert.deepEqual(world.network.peer(name).penalties, [], `${name} blames nobody`)
    assert.deepEqual(
      events.filter(({ kind }) => kind === 'rejected' || kind === 'excluded'),
      [],
    )
  }
}

describe('honest peers come to one set', () => {
  for (let seed = 1; seed <= 8; seed++) {
    test(`over delays, loss, overtaking, partitions, kills and restarts, seed ${seed}`, async () => {
      const random = seededRandom('spsa log', seed)
      const peers = 2 + random.integer(7)
      const steps = 40
      const world = createLogWorld({
        seed,
        steps,
        network: {
          loss: 0.3 * random.uniform(),
          latency: [2, 20 + random.integer(2000)],
          ...(seed % 4 === 0 ? { gossip: 'mesh' } : {}),
        },
      })
      const names = Array.from({ length: peers }, (_, index) => `p${index}`)
      const { network, processes } = world
      for (const name of names) {
        await world.start(name)
      }
      for (let trouble = 0; trouble < 6; trouble++) {
        await network.clock.advance(500 + random.integer(2500))
        const name = names[random.integer(peers)]!
        switch (random.integer(3)) {
          case 0: {
            const cut = 1 + random.integer(peers)
            network.partition(names.slice(0, cut), names.slice(cut))
            break
          }
          case 1:
            network.healAll()
            break
          default:
            if (processes.get(name)!.life.dead) {
              await world.start(name)
            } else {
              processes.get(name)!.kill()
            }
        }
      }
      network.healAll()
      for (const name of names) {
        if (processes.get(name)!.life.dead) {
          await world.start(name)
        }
      }
      await converge(world, ({ strategy }) => strategy.log.count === peers * steps)
      checkHonest(world)
      await stop(world)
      // What is on disk after a clean stop is all of it.
      for (const name of names) {
        assert.ok([...world.disk(name).records.keys()].filter((key) => key.startsWith('log/head/')).length === peers)
      }
    })
  }

  test('killed before any of its writes, a peer comes back and signs nothing twice', async () => {
    for (let writes = 1; writes <= 12; writes++) {
      let left = writes
      const world: LogWorld = createLogWorld({
        seed: writes,
        steps: 24,
        onPut(process) {
          if (process.name === 'a' && --left === 0) {
            process.kill()
          }
        },
      })
      await world.start('a')
      await world.start('b')
      const { clock } = world.network
      await clock.runUntil(() => left <= 0 || world.processes.get('b')!.strategy.log.count === 48, LIMIT)
      if (world.processes.get('a')!.life.dead) {
        await world.start('a')
      }
      await converge(world, ({ strategy }) => strategy.log.count === 48)
      checkHonest(world)
      left = Number.POSITIVE_INFINITY
      await stop(world)
    }
  })
})

describe('a peer that has forgotten', () => {
  test('started from an older copy of its folder, it takes its own contributions back before it goes on', async () => {
    const world = createLogWorld({ seed: 5, steps: 80 })
    await world.start('a')
    await world.start('b')
    const { clock } = world.network
    const count = (name: string): number => world.processes.get(name)!.strategy.log.bytesOf('a').length
    await clock.runUntil(() => count('a') >= 20)
    const copy = new Map(world.disk('a').records)
    await clock.runUntil(() => count('b') >= 60)
    world.processes.get('a')!.kill()
    world.disk('a').records.clear()
    for (const [key, value] of copy) {
      world.disk('a').records.set(key, value)
    }
    const again = await world.start('a')
    await converge(world, ({ strategy }) => strategy.log.count === 160)
    checkHonest(world)
    const [restored] = eventsOf(again, 'own-contributions-restored')
    assert.ok(restored !== undefined && restored.peer === 'b' && restored.contributions >= 40)
    await stop(world)
  })

  test('it asks for its own before anything else, because the rest may fail', async () => {
    const world = createLogWorld({ seed: 9, steps: 40 })
    const liar = await world.liar('half')
    const earlier = await history(world.network.join('a'), 'a', new Uint8Array(20).fill(7))
    liar.answer((_from, question) => {
      const asked = syncQuestion.decode(question)
      if (asked.ask !== 'segments') {
        throw new StarlingError('rate-limited', 'fewer questions, please', {})
      }
      const segments = asked.wanted.map(([author, from]): SegmentEntry => {
        assert.equal(author, 'a')
        return [author, from, earlier.bytes.slice(from - 1), earlier.signature]
      })
      return segmentsAnswer.encode({ segments })
    })
    const again = await world.start('a')
    await world.network.clock.runUntil(() => again.strategy.log.count === 40, 60_000)
    assert.equal(Math.min(...again.strategy.published.keys()), 21)
    assert.deepEqual(again.strategy.log.bytesOf('a').subarray(0, 20), earlier.bytes)
    await stop(world)
  })

  test('with damaged records it waits until another member has answered', async () => {
    const world = createLogWorld({ seed: 6, steps: 240 })
    await world.start('a')
    await world.start('b')
    const { clock } = world.network
    await clock.runUntil(() => world.processes.get('a')!.strategy.log.bytesOf('a').length >= 200)
    const flushed = (): boolean => (world.disk('b').records.get('log/head/a')?.length ?? 0) > 250
    await clock.runUntil(flushed, 60_000)
    world.processes.get('a')!.kill()
    world.processes.get('b')!.kill()
    const record = world.disk('a').records.get('log/head/a')!
    record[record.length - 3]! ^= 1
    const again = await world.start('a')
    await clock.advance(60_000)
    assert.equal(again.strategy.published.size, 0, 'alone, it says nothing')
    assert.equal(eventsOf(again, 'waiting').length, 1)
    assert.equal(eventsOf(again, 'rejected')[0]?.what, 'stored contributions')
    await world.start('b')
    await converge(world, ({ strategy }) => strategy.log.count === 480)
    assert.deepEqual(disagreements(world.processes.values()), [])
    assert.equal(again.strategy.log.excluded().size, 0)
    await stop(world)
  })

  test('alone and whole, it goes on by itself', async () => {
    const world = createLogWorld({ seed: 7, steps: 8 })
    const alone = await world.start('a')
    await world.network.clock.runUntil(() => alone.strategy.log.count === 8, 60_000)
    await stop(world)
  })
})

describe('large sets', () => {
  test('a joiner takes 1,024 authors from one peer, page by page, and equal sets say so in a few bytes', async () => {
    const world = createLogWorld({ seed: 8, steps: 100, maxAuthors: 1024, think: 1e9 })
    const { network } = world
    const giver = await world.start('giver')
    const { log } = giver.strategy
    for (let index = 0; index < 1024; index++) {
      const author = network.join(`author-${index}`)
      const segment = await history(author, author.self, new Uint8Array(20).fill(1 + (index % 100)))
      assert.deepEqual(await network.clock.run(log.accept(segment)), { added: 20 })
      author.kill()
    }
    const taker = await world.start('taker')
    await network.clock.runUntil(() => taker.strategy.log.count === 20_480, 60_000)
    assert.deepEqual(taker.strategy.log.digest(), log.digest())
    const received = network.peer('taker').received
    assert.ok(received < 400_000, `${received} bytes for 20,480 contributions of 1,024 authors`)
    await network.clock.advance(10_000)
    const idle = network.peer('taker').received - received
    assert.ok(idle < 10_000, `${idle} bytes in ten seconds of agreeing`)
    await stop(world)
  })
})
