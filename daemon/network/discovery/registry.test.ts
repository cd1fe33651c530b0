import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { seededRandom } from '../../../protocols/index.ts'
import { Registry } from './registry.ts'

const AT = ['/ip4/192.0.2.1/tcp/4001']

function registryAt(limits = {}) {
  const clock = { now: 0 }
  return { clock, registry: new Registry({ now: () => clock.now, random: seededRandom('registry') }, limits) }
}

const names = (found: { peer: string }[]): string[] => found.map(({ peer }) => peer).sort()

test('a peer hears of the others of its run, never of itself nor of other runs', () => {
  const { registry } = registryAt()
  for (const peer of ['a', 'b', 'c']) registry.register('run', peer, AT)
  registry.register('other', 'd', AT)
  assert.deepEqual(names(registry.peersOf('run', 'a', 10)), ['b', 'c'])
  assert.deepEqual(names(registry.peersOf('other', 'd', 10)), [])
  assert.equal(registry.peersOf('run', 'x', 2).length, 2)
})

test('who says no address is not told to others, and hears of them', () => {
  const { registry } = registryAt()
  registry.register('run', 'a', [])
  registry.register('run', 'b', AT)
  assert.deepEqual(names(registry.peersOf('run', 'b', 10)), [])
  assert.deepEqual(names(registry.peersOf('run', 'a', 10)), ['b'])
})

test('a peer that says hello no more is forgotten, one that does is kept with its last addresses', () => {
  const { clock, registry } = registryAt({ age: 100 })
  registry.register('run', 'a', AT)
  registry.register('run', 'b', AT)
  clock.now = 90
  registry.register('run', 'b', ['/ip4/192.0.2.9/tcp/1'])
  clock.now = 101
  assert.deepEqual(registry.peersOf('run', 'x', 10), [{ peer: 'b', addresses: ['/ip4/192.0.2.9/tcp/1'] }])
  clock.now = 200
  assert.deepEqual(registry.counts(), { runs: 0, peers: 0, registered: 3, evicted: 0 })
})

test('whatever strangers register, every bound holds and the newest registration is there', () => {
  const limits = { runs: 4, peersPerRun: 3, registrations: 8, runsPerPeer: 2, age: 50 }
  const act = fc.record({ run: fc.nat(8), peer: fc.nat(12), wait: fc.nat(20) })
  fc.assert(
    fc.property(fc.array(act, { maxLength: 80 }), (acts) => {
      const { clock, registry } = registryAt(limits)
      for (const { run, peer, wait } of acts) {
        clock.now += wait
        registry.register(`r${run}`, `p${peer}`, AT)
        assert.ok(names(registry.peersOf(`r${run}`, '', 99)).includes(`p${peer}`))
        const found = Array.from({ length: 9 }, (_, each) => names(registry.peersOf(`r${each}`, '', 99)))
        const all = found.flat()
        const { runs, peers } = registry.counts()
        assert.equal(peers, all.length)
        assert.equal(runs, found.filter((one) => one.length > 0).length)
        assert.ok(runs <= limits.runs && peers <= limits.registrations)
        assert.ok(found.every((one) => one.length <= limits.peersPerRun))
        assert.ok(all.every((one) => all.filter((other) => other === one).length <= limits.runsPerPeer))
      }
    }),
    { seed: 7, numRuns: 60 },
  )
})
