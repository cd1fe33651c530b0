import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { seededRandom } from '../random.ts'
import { capped, drawPeers, faultyAmong, IntervalWeights, pullSize, tail } from './index.ts'

/** FedAU's algorithm 2 as printed: a counter per peer that moves every round. Weight of each round in which the peer takes part. */
function printed(rounds: readonly boolean[], cutoff: number): number[] {
  const weights: number[] = []
  let [weight, finished, silence] = [1, 0, 0]
  for (const present of rounds) {
    silence++
    if (present) {
      weights.push(weight)
    }
    if (present || silence === cutoff) {
      weight = finished === 0 ? silence : (finished * weight + silence) / (finished + 1)
      finished++
      silence = 0
    }
  }
  return weights
}

test("the weights are those of the paper's counters", () => {
  const rounds = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 60 })
  fc.assert(
    fc.property(rounds, fc.integer({ min: 1, max: 7 }), (draws, cutoff) => {
      const present = [true, ...draws.map((value) => value === 0)]
      const weights = new IntervalWeights({ cutoff })
      // The paper's counters begin before the first round; ours with a peer's first contribution, which is never an interval's end.
      const expected = printed(present.slice(1), cutoff)
      const actual = present.flatMap((is, round) => (is ? [weights.contribute('peer', round)] : [])).slice(1)
      assert.equal(actual.length, expected.length)
      for (const [i, weight] of actual.entries()) {
        assert.ok(Math.abs(weight - expected[i]!) < 1e-9)
      }
    }),
  )
})

test('interval weights remove most of the bias towards peers that come often', () => {
  // The fair point is the mean of all targets; frequent peers have the large ones. What is measured is the mean pull at the fair point.
  const peers = Array.from({ length: 20 }, (_, i) => ({
    peer: `p${i}`,
    target: i,
    probability: 0.03 + (0.87 * i) / 19,
  }))
  const fair = 9.5
  const pull = (weigh: (peer: string, round: number) => number): number => {
    const random = seededRandom('participation', 1)
    let [sum, weights] = [0, 0]
    for (let round = 0; round < 5_000; round++) {
      for (const { peer, target, probability } of peers) {
        if (random.uniform() < probability) {
          const weight = weigh(peer, round)
          sum += weight * (target - fair)
          weights += weight
        }
      }
    }
    return Math.abs(sum / weights)
  }
  const counters = new IntervalWeights()
  const plain = pull(() => 1)
  assert.ok(plain > 2.5, String(plain))
  const weighted = pull((peer, round) => counters.contribute(peer, round))
  assert.ok(weighted < 0.15 * plain, String(weighted))
})

test('a peer counts once a round, is remembered across restarts, and the memory is bounded', () => {
  const weights = new IntervalWeights({ maxPeers: 3 })
  for (const round of [0, 4, 10]) {
    weights.contribute('seldom', round)
  }
  assert.equal(weights.contribute('seldom', 10), 5)
  assert.equal(new IntervalWeights({}, weights.records()).contribute('seldom', 12), 5)
  for (let i = 0; i < 10; i++) {
    weights.contribute(`other-${i}`, 11)
  }
  assert.equal(weights.records().length, 3)
  assert.equal(weights.contribute('seldom', 12), 1)
  assert.throws(() => new IntervalWeights({ cutoff: 0 }), { code: 'bad-option' })
})

test('no weight counts more than four times the median', () => {
  assert.deepEqual(capped([1, 1, 2, 40, 3]), [1, 1, 2, 8, 3])
  assert.deepEqual(capped([]), [])
})

test('sizes of pulls: the chances of a faulty majority', () => {
  for (const [peers, faulty, size, chance] of [
    [50, 5, 5, 5e-3],
    [50, 5, 9, 7e-5],
    [50, 10, 9, 1e-2],
    [50, 10, 15, 5e-4],
    [200, 40, 15, 3e-3],
    [200, 40, 19, 9e-4],
  ] as const) {
    const probability = tail(size, size >> 1, peers, faulty)
    assert.ok(probability > 0.6 * chance && probability < 1.6 * chance, `${size} of ${peers}: ${probability}`)
    assert.equal(pullSize({ peers, faulty, risk: probability }), size)
  }
  assert.throws(() => pullSize({ peers: 10, faulty: 5, risk: 0.01 }), { code: 'no-majority' })
  assert.equal(pullSize({ peers: 10, faulty: 0, risk: 1e-9 }), 1)
  assert.equal(faultyAmong(12, { peers: 12, faulty: 3, risk: 1e-9 }), 3, 'who asks all meets all the faulty ones')
  const b = faultyAmong(15, { peers: 200, faulty: 40, risk: 1e-3 })
  assert.ok(tail(15, b, 200, 40) <= 1e-3 && tail(15, b - 1, 200, 40) > 1e-3)
})

test('every peer is drawn equally often, and none twice', () => {
  const random = seededRandom('draws')
  const counts = new Map<string, number>()
  for (let i = 0; i < 3_000; i++) {
    const drawn = drawPeers(['a', 'b', 'c', 'd', 'e', 'a'], 2, random)
    assert.equal(new Set(drawn).size, 2)
    for (const peer of drawn) {
      counts.set(peer, (counts.get(peer) ?? 0) + 1)
    }
  }
  assert.ok([...counts.values()].every((count) => Math.abs(count - 1_200) < 120))
})
