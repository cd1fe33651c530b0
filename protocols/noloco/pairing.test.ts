import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pairsOf, partnerOf, viewHash } from './pairing.ts'

const peers = (count: number): string[] => Array.from({ length: count }, (_, i) => `peer-${i}`)

test('every peer is in exactly one pair and the same on all peers (conformance 7)', () => {
  for (const count of [1, 2, 3, 7, 8]) {
    const names = peers(count)
    for (let round = 0; round < 200; round++) {
      const seen = new Set<string>()
      let idle = 0
      const pairs = pairsOf('run', round, names).map((pair) => pair.sort().join())
      for (const self of names) {
        // Each peer knows the members in an order of its own.
        const partner = partnerOf('run', round, [...names].reverse(), self)
        if (partner === undefined) {
          idle++
        } else {
          assert.notEqual(partner, self)
          assert.equal(partnerOf('run', round, names, partner), self)
          const pair = [self, partner].sort().join()
          assert.ok(pairs.includes(pair))
          seen.add(pair)
        }
      }
      assert.equal(idle, count % 2)
      assert.equal(seen.size, Math.floor(count / 2))
    }
  }
})

test('all pairs are equally likely (conformance 7)', () => {
  const names = peers(8)
  const counts = new Map<string, number>()
  const rounds = 14_000
  for (let round = 0; round < rounds; round++) {
    for (const pair of pairsOf('run', round, names)) {
      const key = pair.sort().join()
      counts.set(key, (counts.get(key) ?? 0) + 1)
    }
  }
  const expected = (rounds * 4) / 28
  assert.equal(counts.size, 28)
  const chi = [...counts.values()].reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0)
  // 28 counts under 8 constraints (every peer is paired in every round): 20 degrees of freedom, 0.999 quantile 45.3.
  assert.ok(chi < 45.3, `chi-square ${chi}`)
})

test('who sits out changes from round to round and evenly', () => {
  const names = peers(5)
  const idle = new Map(names.map((name) => [name, 0]))
  for (let round = 0; round < 5000; round++) {
    const out = names.find((name) => partnerOf('run', round, names, name) === undefined)!
    idle.set(out, idle.get(out)! + 1)
  }
  for (const count of idle.values()) {
    assert.ok(count > 850 && count < 1150, String(count))
  }
})

test('runs and rounds have pairs of their own; a stranger to the view has no partner', () => {
  const names = peers(8)
  const of = (run: string, round: number): string => JSON.stringify(pairsOf(run, round, names))
  assert.notEqual(of('run', 1), of('run', 2))
  assert.notEqual(of('run', 1), of('other', 1))
  assert.equal(partnerOf('run', 1, names, 'stranger'), undefined)
  assert.equal(viewHash(names), viewHash([...names].reverse()))
  assert.notEqual(viewHash(names), viewHash(names.slice(1)))
})

test('views that differ in one member agree about half of the pairs', () => {
  const names = peers(21)
  let kept = 0
  const rounds = 500
  for (let round = 0; round < rounds; round++) {
    const all = new Set(pairsOf('run', round, names).map((pair) => pair.join()))
    kept += pairsOf('run', round, names.slice(1)).filter((pair) => all.has(pair.join())).length
  }
  assert.ok(kept / rounds > 4 && kept / rounds < 6, String(kept / rounds))
})
