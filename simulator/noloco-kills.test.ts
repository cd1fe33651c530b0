import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type ExchangePhase, seededRandom } from '../protocols/index.ts'
import { createWorld, disagreements, type Fate, finish, LIMIT, type World } from './testing/noloco.ts'

/** Every moment of an exchange at which a peer of that role passes. 'a' initiates, 'b' responds. */
const PHASES: Record<'a' | 'b', readonly ExchangePhase[]> = {
  a: ['encoded', 'proposing', 'accepted', 'received', 'inspected', 'prepared', 'asking', 'committed'],
  b: ['encoded', 'accepted', 'received', 'inspected', 'prepared', 'deciding', 'committed'],
}

const strategy = { innerSteps: 4, partnerTimeout: 4, catchUpRounds: 1_000_000 }

/** Kills `victim` at that moment of its fifth round, starts it again after `away` ms, and lets both come to the end. */
async function killAt(
  victim: string,
  phase: ExchangePhase,
  away: number,
  lost: readonly [string, Fate] | undefined,
  liars: Record<string, string> = {},
): Promise<World> {
  let killed = false
  let dropped = 0
  const world: World = createWorld({
    seed: 7,
    steps: 60,
    size: 64,
    strategy,
    liars,
    onPhase(process, at) {
      if (!killed && process.name === victim && at === phase && Number(process.strategy.progress().round) >= 4) {
        killed = true
        process.kill()
      }
    },
    fate: (from, _to, method) =>
      lost !== undefined &&
      method === lost[0] &&
      Number(world.processes.get(from)?.strategy.progress().round) >= 4 &&
      dropped++ < 2
        ? lost[1]
        : 'delivered',
  })
  await world.start('a')
  await world.start('b')
  const { clock } = world.network
  await clock.runUntil(() => killed, LIMIT)
  await clock.advance(away)
  await world.start(victim)
  await finish(world)
  return world
}

describe('an exchange of which one side is killed', () => {
  for (const victim of ['a', 'b'] as const) {
    for (const phase of PHASES[victim]) {
      test(`${victim === 'a' ? 'initiator' : 'responder'} killed when ${phase}: both took the step together or neither did`, async () => {
        for (const away of [300, 4_000, 40_000]) {
          const world = await killAt(victim, phase, away, undefined)
          assert.deepEqual(disagreements(world), [], `away for ${away} ms`)
          const survivor = world.lineage(victim === 'a' ? 'b' : 'a')
          assert.ok(survivor.has(5), 'the survivor has been through the round')
          const rounds = [...world.lineage(victim).keys()]
          assert.ok(rounds.includes(4), 'the victim came back to the round before, and not further')
          // They go on meeting, unless the survivor was through with its steps before.
          assert.ok(away > 10_000 || [...survivor.values()].filter((partner) => partner !== undefined).length >= 6)
        }
      })
    }
  }

  test('the commit on record is what counts: killed right after it, the responder has taken the step', async () => {
    for (const away of [300, 4_000]) {
      const world = await killAt('b', 'committed', away, undefined)
      assert.equal(world.lineage('a').get(5), 'b')
      assert.equal(world.lineage('b').get(5), 'a')
    }
  })

  test('who comes back takes the share that both had agreed on, where the partner was too far away to count whole', async () => {
    for (const victim of ['a', 'b'] as const) {
      const world = await killAt(victim, 'committed', 300, undefined, { b: 'noise:0.5' })
      assert.equal(world.lineage('a').get(5), 'b')
      assert.equal(world.lineage('b').get(5), 'a')
      assert.deepEqual(disagreements(world), [])
      const share = world.shares(victim).get(5)
      assert.ok(share !== undefined && share > 0 && share < 1, String(share))
    }
  })

  test('an initiator in doubt that gave up is believed by the responder that comes back late', async () => {
    const world = await killAt('b', 'committed', 40_000, undefined)
    assert.equal(world.lineage('a').get(5), undefined)
    assert.equal(world.lineage('b').get(5), undefined)
    assert.ok(world.lineage('b').has(5))
  })
})

describe('an exchange of which messages get lost', () => {
  for (const method of ['noloco-propose', 'noloco-ready', 'noloco-commit', 'blob-hashes', 'blob-chunk']) {
    for (const fate of ['question-lost', 'answer-lost'] as const) {
      test(`${method}, ${fate}`, async () => {
        let dropped = 0
        const world = createWorld({
          seed: 8,
          steps: 60,
          size: 64,
          strategy,
          fate: (from, _to, asked) =>
            asked === method && world.processes.get(from)?.strategy.progress().round === 4 && dropped++ < 2
              ? fate
              : 'delivered',
        })
        await world.start('a')
        await world.start('b')
        await finish(world)
        assert.ok(dropped > 0)
        assert.deepEqual(disagreements(world), [])
      })
    }
  }

  for (const method of ['noloco-commit', 'noloco-outcome']) {
    test(`${method} lost, and the responder killed meanwhile`, async () => {
      for (const fate of ['question-lost', 'answer-lost'] as const) {
        for (const phase of ['prepared', 'deciding', 'committed'] as const) {
          const world = await killAt('b', phase, 2_000, [method, fate])
          assert.deepEqual(disagreements(world), [], `${fate}, killed when ${phase}`)
        }
      }
    })
  }
})

test('whatever gets lost and whoever is killed when, no exchange is half applied', async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const random = seededRandom('kills', seed)
    const names = ['a', 'b', 'c', 'd']
    const world = createWorld({
      seed,
      steps: 160,
      size: 64,
      strategy,
      fate: () => (random.uniform() < 0.04 ? (random.uniform() < 0.5 ? 'question-lost' : 'answer-lost') : 'delivered'),
    })
    for (const name of names) {
      await world.start(name, { milliseconds: 150 + random.integer(150) })
    }
    const { clock } = world.network
    await clock.advance(8_000)
    for (let kill = 0; kill < 5; kill++) {
      await clock.advance(random.integer(5_000))
      const victim = world.processes.get(names[random.integer(names.length)]!)!
      victim.kill()
      await clock.advance(50 + random.integer(random.uniform() < 0.5 ? 1_000 : 15_000))
      const again = await world.start(victim.name)
      // One at a time: when both sides of an exchange are away at once, each must decide without the other.
      await clock.runUntil(() => again.swarm.status().phase !== 'joining', LIMIT)
    }
    await finish(world)
    assert.deepEqual(disagreements(world), [], `seed ${seed}`)
    for (const name of names) {
      const met = [...world.lineage(name).values()].filter((partner) => partner !== undefined)
      assert.ok(met.length > 0, `seed ${seed}: ${name} met nobody`)
    }
  }
})
