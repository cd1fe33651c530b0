import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type StarlingError, seededRandom } from '../../protocols/index.ts'
import { exponential, logNormal, portableNormal } from '../portable.ts'
import { oneSided } from '../testing/planted.ts'
import { type ChurnEvent, churnOf } from './churn.ts'
import { checkScenario, peerNames, simulate, sweep } from './index.ts'
import { latencyModel } from './latency.ts'

const small = { peers: 12, seed: 3, rounds: 3, strategy: { name: 'noloco', innerSteps: 4 }, learner: 'quadratic' }
const run = (more: object) => simulate(checkScenario({ ...small, ...more }))

describe('a simulation', () => {
  for (const [what, more] of [
    ['by heartbeats', {}],
    ['with shared membership and churn', { membership: 'shared', churn: { kind: 'share', perRound: 0.3 } }],
    [
      'with a network that learns',
      { learner: 'mlp', network: { regions: 'world', nat: 0.5, loss: 0.1, gossip: 'mesh' } },
    ],
  ] as const) {
    test(`${what}: one seed gives one result, another seed another`, async () => {
      const [first, again, other] = [await run(more), await run(more), await run({ ...more, seed: 4 })]
      assert.deepEqual(again, first)
      assert.notEqual(other.digest, first.digest)
      assert.deepEqual(first.violations, [])
      assert.ok((first.events.exchange ?? 0) > 0)
      assert.ok(first.loss.last < first.loss.first, JSON.stringify(first.loss))
    })
  }

  for (const strategy of [{ name: 'gossip' }, { name: 'spsa', batch: 4, learningRate: 0.01 }]) {
    test(`of ${strategy.name}: one seed gives one result, also where many die`, async () => {
      const more = {
        peers: 8,
        rounds: 3,
        strategy,
        network: { gossip: 'mesh' },
        churn: { kind: 'share', perRound: 0.2 },
      }
      const [first, again] = [await run(more), await run(more)]
      assert.deepEqual(again, first)
      assert.deepEqual([first.violations, first.failures], [[], {}])
      assert.ok(first.kills > 0 && first.loss.last < first.loss.first, JSON.stringify(first))
    })
  }

  test('a partition keeps its sides apart, and they find each other again', async () => {
    const half = { rounds: 8, partitions: [{ at: 2, for: 4, share: 0.5 }] }
    const [apart, whole] = [await run(half), await run({ rounds: 8 })]
    assert.notEqual(apart.digest, whole.digest)
    assert.ok((apart.events.exchange ?? 0) < (whole.events.exchange ?? 0), JSON.stringify([apart.events, whole.events]))
    assert.equal(apart.events.finished, 12)
  })

  test('a sweep on two cores gives for each seed what it gives alone', async () => {
    const scenario = checkScenario({ ...small, peers: 4, rounds: 2 })
    const digests: string[] = []
    for await (const { result } of sweep(scenario, { seeds: [3, 4, 5], cores: 2 })) digests.push(result.digest)
    assert.equal(digests[0], (await simulate(scenario)).digest)
    assert.equal(new Set(digests).size, 3)
  })

  test('who dies comes back and goes on', async () => {
    const result = await run({ rounds: 6, membership: 'shared', churn: { kind: 'share', perRound: 0.25 } })
    assert.ok(result.kills >= 12 && result.starts > 12, JSON.stringify(result))
    assert.ok((result.events.finished ?? 0) >= 8)
    assert.deepEqual(result.failures, {})
  })

  test('all of a mass failure that do not come back leave the others to finish', async () => {
    const churn = { kind: 'mass', at: 2, share: 0.5, down: 86_400 }
    const result = await run({ membership: 'shared', churn })
    assert.equal(result.kills, 6)
    assert.equal(result.alive, 6)
    assert.equal(result.events.finished, 6)
  })

  test('can be given up', async () => {
    const controller = new AbortController()
    const simulated = simulate(checkScenario({ ...small, rounds: 1_000 }), {
      signal: controller.signal,
      onProgress: () => controller.abort(),
    })
    await assert.rejects(simulated, (error: StarlingError) => error.code === 'aborted')
  })
})

describe('the checks of a simulation', () => {
  test('a partner that applies an exchange which the other dropped is found', async () => {
    let found: number | undefined
    for (let seed = 0; seed < 100 && found === undefined; seed++) {
      const { violations } = await oneSided(seed, 0.1)
      if (violations.some(({ kind }) => kind === 'one-sided-exchange')) found = seed
    }
    assert.ok(found !== undefined, 'not found in 100 seeds')
    assert.deepEqual((await oneSided(found, 0)).violations, [])
  })
})

describe('a scenario', () => {
  const refuses = (value: object, pattern: RegExp): void => {
    assert.throws(
      () => checkScenario({ ...small, ...value }),
      (error: StarlingError) => pattern.test(error.message) && !error.message.includes('\n'),
      String(pattern),
    )
  }

  test('that cannot be is refused with the key', () => {
    refuses({ peers: 1 }, /^peers must be at least 2, not 1$/)
    refuses({ network: { loss: 1 } }, /^network.loss must be at most 0.95, not 1$/)
    refuses({ liars: { count: 12 } }, /^liars: must be fewer than the 12 peers/)
    refuses({ liars: { count: 1, attack: 'flattery' } }, /attack: 'flattery' is none of/)
    refuses({ churn: { kind: 'share', perRound: 2 } }, /^churn.perRound must be at most 1/)
    refuses({ churn: { kind: 'trace', events: [{ at: 1, peer: 'peer-99', what: 'kill' }] } }, /names peer-99/)
    refuses({ strategy: { name: 'noloco', innerSteps: 0 } }, /^strategy.innerSteps must be at least 1/)
    refuses({ speeds: {} }, /^speeds is not a known key; did you mean speed\?/)
    refuses({ strategy: { name: 'pipeline' } }, /^strategy.name: pipeline needs a real network/)
    refuses({ strategy: { name: 'spsa' }, liars: { count: 1 } }, /^liars: peers of spsa send no parameters/)
    refuses({ membership: 'shared', network: { loss: 0.1 } }, /^network.loss: /)
    refuses({ membership: 'shared', partitions: [{ at: 1, for: 1, share: 0.5 }] }, /^partitions: /)
    const twice = [1, 2].map((at) => ({ at, for: 5, share: 0.5 }))
    refuses({ partitions: twice }, /^partitions: one begins at 2 s, before the one before it ends at 6 s/)
  })

  test('peers are named so that their order is that of their numbers', () => {
    assert.deepEqual(peerNames(11).slice(8), ['peer-08', 'peer-09', 'peer-10'])
    assert.deepEqual(peerNames(11), [...peerNames(11)].sort())
  })
})

describe('churn', () => {
  /** The events of the first `milliseconds`; every one must fit the state it finds. */
  function take(churn: object, milliseconds: number): { events: ChurnEvent[]; up: Set<string> } {
    const scenario = checkScenario({ ...small, peers: 40, churn })
    const up = new Set(peerNames(40))
    const events: ChurnEvent[] = []
    for (const event of churnOf(scenario, (peer) => up.has(peer))) {
      if (event.at > milliseconds) break
      assert.ok(event.at >= (events.at(-1)?.at ?? 0), 'out of order')
      events.push(event)
      if (event.what === 'kill') up.delete(event.peer)
      else up.add(event.peer)
    }
    return { events, up }
  }

  test('each kind keeps to its rule', () => {
    const hour = 3_600_000
    const killsOf = (events: ChurnEvent[]): number => events.filter(({ what }) => what === 'kill').length
    // A round takes 4 x 250 ms; in ten rounds after the first, 8 of 40 die each.
    assert.equal(killsOf(take({ kind: 'share', perRound: 0.2 }, 11_000).events), 80)
    const poisson = take({ kind: 'poisson', up: 600, down: 200 }, 10 * hour)
    assert.ok(Math.abs(killsOf(poisson.events) - (40 * 36_000) / 800) < 180, String(killsOf(poisson.events)))
    const diurnal = take({ kind: 'diurnal', day: 3_600, away: 0.25 }, 3 * hour)
    assert.ok(Math.abs(diurnal.up.size - 30) < 8, String(diurnal.up.size))
    const pccl = take({ kind: 'pccl' }, hour)
    // Kills and starts balance where nearly all are up; a pause is 1.25 s in the mean.
    assert.ok(Math.abs(killsOf(pccl.events) - 0.4 * (3_600 / 1.25)) < 120, String(killsOf(pccl.events)))
    assert.deepEqual(
      take({ kind: 'mass', at: 10, share: 0.5, down: 5 }, hour).events.map(({ what }) => what),
      [...Array(20).fill('kill'), ...Array(20).fill('start')],
    )
  })
})

describe('the network of a scenario', () => {
  test('relayed pairs take twice as long, large messages longer, and regions are far apart', () => {
    const delays = (network: object, bytes = 0): number[] => {
      const model = latencyModel(checkScenario({ ...small, network: { latency: 10, spread: 0, ...network } }))
      const dice = seededRandom('test')
      const names = peerNames(12)
      return names.flatMap((a) => names.filter((b) => b !== a).map((b) => model(a, b, bytes, dice)))
    }
    assert.ok(delays({}).every((delay) => delay === 10))
    assert.ok(delays({ nat: 1 }).every((delay) => delay === 20))
    assert.ok(delays({ upload: 8, download: 80 }, 1_000_000).every((delay) => Math.abs(delay - 1_010) < 1e-6))
    assert.ok(Math.max(...delays({ regions: 'world' })) > 90)
  })

  test('draws have the distribution that they are named after', () => {
    const random = seededRandom('draws')
    const count = 20_000
    const draws = (draw: () => number): number[] => Array.from({ length: count }, draw).sort((a, b) => a - b)
    const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / count
    const normals = draws(() => portableNormal(random))
    assert.ok(Math.abs(mean(normals)) < 0.03)
    assert.ok(Math.abs(mean(normals.map((x) => x * x)) - 1) < 0.05)
    assert.ok(Math.abs(draws(() => logNormal(50, 0.5, random))[count / 2]! - 50) < 1.5)
    assert.ok(Math.abs(mean(draws(() => exponential(7, random))) - 7) < 0.3)
  })
})
